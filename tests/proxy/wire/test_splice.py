"""What was checked is what is sent, whichever of two equal keys a provider's parser believes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.chat_body import read_chat_body
from proxy.wire.client_request import ClientRequest
from proxy.wire.splice import upstream_body

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


def request(raw: bytes) -> ClientRequest:
    fields = read_chat_body(raw)
    return ClientRequest(
        UUID(int=0),
        "chat",
        fields.model,
        fields.stream,
        raw,
        include_usage=fields.include_usage,
        read_fields=fields.read_fields,
        model_span=fields.model_span,
        has_stream_options=fields.has_stream_options,
        gateway_fields=fields.gateway_fields,
    )


def body(
    raw: str | bytes, *, model: str = "up", ask: bool = True, keep: bool = False, rename: dict[str, str] | None = None
) -> bytes:
    data = raw.encode() if isinstance(raw, str) else raw
    return upstream_body(request(data), model=model, ask_usage=ask, keep_extensions=keep, rename=rename)


def first_wins(raw: bytes) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            found.setdefault(key, value)
        return found

    return json.loads(raw, object_pairs_hook=pairs)


def test_same_name_and_nothing_to_ask_is_the_same_bytes() -> None:
    raw = f'{{ "model" : "gpt", {MESSAGES} }}'.encode()
    assert body(raw, model="gpt") is not None
    assert body(raw, model="gpt") == raw


@pytest.mark.parametrize(
    "raw",
    [
        '{"model":"gpt",%s,"seed":12345678901234567890123}',
        '{ "seed" : 1.10, %s ,\n"model": "gpt" }',
        '{"tools":[{"properties":{"model":{"type":"string"}}}],%s,"model":"gpt"}',
    ],
)
def test_only_the_model_is_replaced(raw: str) -> None:
    raw = raw % MESSAGES
    start, end = raw.rindex('"gpt"'), raw.rindex('"gpt"') + 5
    assert body(raw, model='o"1é').decode() == raw[:start] + '"o\\"1é"' + raw[end:]


def test_usage_is_asked_for_right_after_the_brace() -> None:
    raw = f'{{"model":"gpt","stream":true,{MESSAGES}}}'
    assert body(raw).decode() == '{"stream_options":{"include_usage":true},"model":"up","stream":true,' + MESSAGES + "}"
    assert body(raw, ask=False).decode() == raw.replace("gpt", "up")
    assert body(f'{{"model":"gpt",{MESSAGES}}}').decode() == '{"model":"up",' + MESSAGES + "}"


def test_a_client_that_asks_itself_is_left_alone() -> None:
    raw = f'{{"model":"up","stream":true,"stream_options":{{"include_usage":true}},{MESSAGES}}}'
    assert body(raw).decode() == raw


def test_options_of_the_client_stay() -> None:
    raw = f'{{"model":"gpt","stream":true,"stream_options":{{"include_obfuscation":false}},{MESSAGES}}}'
    assert json.loads(body(raw)) == json.loads(raw) | {
        "model": "up",
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }
    nulled = f'{{"model":"gpt","stream":true,"stream_options":null,{MESSAGES}}}'
    assert json.loads(body(nulled))["stream_options"] == {"include_usage": True}


def test_extensions_are_removed_unless_kept() -> None:
    raw = (
        f'{{"model":"gpt",{MESSAGES},"usage":{{"include":true}},"models":["a"],"provider":{{"order":["x"]}},"seed":1}}'
    )
    assert json.loads(body(raw)) == json.loads(f'{{"model":"up",{MESSAGES},"seed":1}}')
    assert body(raw, keep=True).decode() == raw.replace('"gpt"', '"up"')


def test_fields_are_renamed() -> None:
    raw = f'{{"model":"gpt",{MESSAGES},"max_completion_tokens":5}}'
    assert json.loads(body(raw, rename={"max_completion_tokens": "max_tokens"}))["max_tokens"] == 5
    assert b"max_completion_tokens" not in body(raw, rename={"max_completion_tokens": "max_tokens"})
    plain = f'{{"model":"up",{MESSAGES}}}'
    assert body(plain, rename={"max_completion_tokens": "max_tokens"}).decode() == plain


HOSTILE = [
    f'{{"model":"dear","model":"cheap",{MESSAGES}}}',
    f'{{"model":"cheap",{MESSAGES},"mod\\u0065l":"cheap2"}}',
    f'{{"mod\\u0065l":"dear","model":"cheap",{MESSAGES}}}',
    f'{{"max_tokens":9999,"model":"cheap",{MESSAGES},"max_tokens":1}}',
    f'{{"max_tok\\u0065ns":9999,"model":"cheap",{MESSAGES},"max_tokens":1}}',
    f'{{"n":99,"model":"cheap",{MESSAGES},"n":1}}',
    f'{{"stream":false,"model":"cheap",{MESSAGES},"stream":true}}',
    f'{{"service_tier":"priority","model":"cheap",{MESSAGES},"service_tier":"flex"}}',
    f'{{"model":"cheap",{MESSAGES},"stream":true,"stream_options":{{"include_usage":false,"include_usage":true}}}}',
    f'{{"model":"cheap",{MESSAGES},"stream":true,"stream_options":{{"include_us\\u0061ge":false,"include_usage":true}}}}',
    f'{{"stream_options":{{"include_usage":false}},"model":"cheap",{MESSAGES},"stream":true,"stream_options":{{"include_usage":true}}}}',
    f'{{"model":"cheap",{MESSAGES},"models":["dear"],"models":[]}}',
    f'{{"messages":[{{"role":"user","content":"dear"}}],"model":"cheap",{MESSAGES}}}',
]


@pytest.mark.parametrize("model", ["cheap", "cheap2", "up"])
@pytest.mark.parametrize("raw", HOSTILE)
def test_first_and_last_key_agree_in_what_is_sent(raw: str, model: str) -> None:
    sent = body(raw, model=model)
    assert first_wins(sent) == json.loads(sent)
    assert json.loads(sent)["model"] == model


spaces = st.sampled_from(["", "", "", " ", "\n"])
keys = st.sampled_from(
    [
        "model",
        "mod\\u0065l",
        "\\u006dodel",
        "max_tokens",
        "max\\u005ftokens",
        "stream",
        "n",
        "user",
        "seed",
        "x",
        "é",
        "a\\/b",
    ]
)
VALUES = {
    "model": st.sampled_from(['"m"', '"n"', '"\\u006d"']),
    "max": st.sampled_from(["1", "22"]),
    "stream": st.sampled_from(["true", "false"]),
    "n": st.sampled_from(["1", "2"]),
    "user": st.sampled_from(['"u"', '"model"', '"\\"model\\""']),
}
ANY = st.sampled_from(['{"model":"q"}', '["model","stream"]', '"n"', "1e5", '{"stream":false,"stream":true}'])


@st.composite
def bodies(draw: st.DrawFn) -> str:
    entries = [("model", '"m"')]
    for _ in range(draw(st.integers(0, 5))):
        key = draw(keys)
        plain = json.loads(f'"{key}"')
        kind = next((name for name in VALUES if plain.startswith(name)), None)
        entries.append((key, draw(VALUES[kind] if kind else ANY)))
    entries.append(("messages", '[{"role":"user","content":"\\"model\\": \\u0041"}]'))
    entries = draw(st.permutations(entries))
    gap = draw(spaces)
    return (
        gap + "{" + ",".join(f'{gap}"{key}"{draw(spaces)}:{draw(spaces)}{value}{gap}' for key, value in entries) + "}"
    )


@settings(max_examples=500)
@given(bodies(), st.sampled_from(["m", "n", "up"]), st.booleans())
def test_any_body_means_one_thing_to_every_parser(raw: str, model: str, ask: bool) -> None:
    sent = body(raw, model=model, ask=ask)
    wanted = json.loads(raw) | {"model": model}
    if ask and wanted.get("stream"):
        wanted["stream_options"] = {"include_usage": True}
    assert json.loads(sent) == wanted
    top = {
        name: value
        for name, value in first_wins(sent).items()
        if name in ("model", "max_tokens", "stream", "n", "user", "stream_options")
    }
    assert top == {name: value for name, value in wanted.items() if name in top}
