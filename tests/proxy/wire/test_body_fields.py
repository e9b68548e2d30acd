"""On every surface: what was checked is what is sent, whichever of two equal keys a provider's parser believes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire import completions_body, embeddings_body, moderations_body, responses_body
from proxy.wire.body_fields import BodyFields
from proxy.wire.client_request import ClientRequest
from proxy.wire.refusals import Reason, Refused
from proxy.wire.splice import upstream_body

Read = Callable[[bytes], tuple[BodyFields, bytes]]


def keeping(read: Callable[[bytes], BodyFields]) -> Read:
    return lambda raw: (read(raw), raw)


# Surface → its reader, its fields, the least that it takes besides `model`.
READS: dict[str, tuple[Read, tuple[str, ...], str]] = {
    "responses": (keeping(responses_body.read_responses_body), responses_body.FIELDS, '"input":"hi"'),
    "completions": (keeping(completions_body.read_completions_body), completions_body.FIELDS, '"prompt":"hi"'),
    "embeddings": (keeping(embeddings_body.read_embeddings_body), embeddings_body.FIELDS, '"input":[1,2]'),
    "moderations": (moderations_body.read_moderations_body, moderations_body.FIELDS, '"input":["a","b"]'),
}
SURFACES = sorted(READS)
VALUES: dict[str, list[str]] = {
    "model": ['"cheap"', '"dear"', '"d\\u0065ar"'],
    "input": ['"hi"', '[{"role":"user","content":"model"}]', '[{"model":"x","input":[1]}]', '["a"]'],
    "prompt": ['"p"', '["a","b"]', "[1,2]", "[[1],[2]]", "null"],
    "stream": ["true", "false", "null"],
    "stream_options": ['{"include_usage":true}', '{"include_usage":false,"include_usage":true}', '{"a":1}', "null"],
    "max_tokens": ["1", "9999"],
    "max_output_tokens": ["16", "9999", "null"],
    "n": ["1", "99"],
    "best_of": ["1", "20"],
    "store": ["true", "false", "null"],
    "background": ["true", "false"],
    "tools": ['[{"type":"function","name":"model"}]', '[{"type":"web_search"}]', "[]", "null"],
    "previous_response_id": ['"resp_1"', '"resp_2"', "null"],
    "conversation": ['"conv_1"', '{"id":"conv_2"}', "null"],
    "max_tool_calls": ["1", "2"],
    "service_tier": ['"flex"', '"priority"'],
    "user": ['"a"', '"b"'],
    "usage": ['{"include":true}', "null"],
    "models": ['["a"]', "null"],
    "provider": ['{"order":["x"]}', "null"],
}
OTHERS = ["metadata", "x", "é", "instructions", "temperature"]


def spelled(name: str, how: int) -> str:
    """The key as it is, or with one of its letters escaped."""
    if how < 0 or not name.isascii():
        return json.dumps(name, ensure_ascii=False)
    at = how % len(name)
    return f'"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"'


def pairs_of(surface: str) -> st.SearchStrategy[list[tuple[str, str, int]]]:
    names = [*READS[surface][1], *OTHERS]

    def value(name: str) -> st.SearchStrategy[str]:
        if name == "prompt" and surface == "responses":
            return st.sampled_from(['{"id":"pmpt_1"}', "null"])
        return st.sampled_from(VALUES.get(name, ["1", '"model"', '{"model":"n","user":"n"}']))

    pair = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), value(name), st.one_of(st.just(-1), st.integers(0, 9)))
    )
    return st.lists(pair, max_size=6)


def first_wins(raw: bytes) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            found.setdefault(key, value)
        return found

    return json.loads(raw, object_pairs_hook=pairs)


def sent(surface: str, fields: BodyFields, raw: bytes, *, model: str, ask: bool, keep: bool) -> bytes:
    request = ClientRequest(
        UUID(int=0), surface, fields.model, fields.stream, raw, include_usage=fields.include_usage,
        read_fields=fields.read_fields, model_span=fields.model_span, has_stream_options=fields.has_stream_options,
        gateway_fields=fields.gateway_fields,
    )  # fmt: skip
    return upstream_body(request, model=model, ask_usage=ask, keep_extensions=keep)


@settings(max_examples=300)
@given(st.sampled_from(SURFACES), st.data())
def test_what_was_checked_is_what_is_sent(surface: str, data: st.DataObject) -> None:
    read, names, least = READS[surface]
    pairs = data.draw(pairs_of(surface))
    blank = data.draw(st.sampled_from(["", " ", "\n "]))
    known = least.split(":", 1)
    pairs += [(known[0].strip('"'), known[1], -1), ("model", '"cheap"', data.draw(st.sampled_from([-1, 2])))]
    pairs = data.draw(st.permutations(pairs))
    raw = ("{" + f",{blank}".join(f"{spelled(name, how)}:{blank}{value}" for name, value, how in pairs) + "}").encode()
    fields, raw = read(raw)
    ask = surface == "completions" and data.draw(st.booleans())
    keep = data.draw(st.booleans())
    model = data.draw(st.sampled_from([fields.model, "up"]))
    body = sent(surface, fields, raw, model=model, ask=ask, keep=keep)
    first, last = first_wins(body), json.loads(body)
    asked = json.loads(raw)
    for name in names:
        if name in ("usage", "models", "provider") and not keep:
            assert name not in last
            continue
        assert first.get(name) == last.get(name), name
        if name == "model":
            assert last[name] == model
        elif name == "stream_options" and ask and fields.stream:
            assert last[name]["include_usage"] is True
        else:
            assert last.get(name) == asked.get(name), name
    assert {name: value for name, value in last.items() if name not in names} == {
        name: value for name, value in asked.items() if name not in names
    }


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("form", ['{"model":"m",%s}', '{%s,"model":"m"}'])
def test_a_plain_body_is_forwarded_as_it_came(surface: str, form: str) -> None:
    read, _, least = READS[surface]
    raw = (form % least).encode()
    fields, read_raw = read(raw)
    assert read_raw == raw
    assert fields.model_span is not None
    assert raw[slice(*fields.model_span)] == b'"m"'
    assert sent(surface, fields, raw, model="m", ask=False, keep=False) is raw
    assert sent(surface, fields, raw, model="u", ask=False, keep=False) == raw.replace(b'"m"', b'"u"')


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "spoilt",
    [
        '{"model":"m",%s,"x":1,"x":1}',
        '{"mod\\u0065l":"m",%s}',
        ' {"model":"m",%s}',
        '{"user":"a","model":"m",%s,"user":"b"}',
        '{"é":1,"model":"m",%s}',
        '{"a\\"b":1,"model":"m",%s}',
    ],
)
def test_the_span_is_only_where_it_is_proven(surface: str, spoilt: str) -> None:
    read, _, least = READS[surface]
    assert read((spoilt % least).encode())[0].model_span is None


@pytest.mark.parametrize("surface", SURFACES)
def test_pythons_json_is_proven_too(surface: str) -> None:
    read, _, least = READS[surface]
    raw = json.dumps({"model": "m", **json.loads("{" + least + "}")}).encode()
    span = read(raw)[0].model_span
    assert span is not None
    assert raw[slice(*span)] == b'"m"'


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "truncated"),
        (b"[1]", "must be a JSON object, such as {"),
        (b'{"model":"m",}', "trailing comma"),
        (b"\xef\xbb\xbf{}", "byte 0"),
        (b'{"model":"m","input":[NaN]}', "byte 22"),
        (b'{"model":"m","input":["\xff"]}', "not valid UTF-8 (byte 23)"),
        (b'{"model":"m","input":["\\ud800 and on"]}', "hex escape"),
        (b'{"model":"m","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused(surface: str, raw: bytes, part: str) -> None:
    with pytest.raises(Refused) as caught:
        READS[surface][0](raw)
    assert caught.value.reason is Reason.BAD_JSON
    assert part in caught.value.message


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ('"model":""', "model", "must not be empty"),
        ('"model":5', "model", "must be a string"),
        ('"model":"a\\u0000"', "model", "NUL"),
        ('"model":"%s"' % ("x" * 257), "model", "at most 256"),
        ('"Model":"m"', "Model", "Write it 'model'"),
        ('"model":"m","usage":true', "usage", "must be an object"),
        ('"model":"m","usage":{"include":1}', "usage.include", "true or false"),
        ('"model":"m","models":[""]', "models", "array of llm names"),
        ('"model":"m","provider":[]', "provider", "must be an object"),
    ],
)
def test_bad_values_are_refused_by_name(surface: str, fields: str, param: str, part: str) -> None:
    read, _, least = READS[surface]
    with pytest.raises(Refused) as caught:
        read(f"{{{fields},{least}}}".encode())
    assert (caught.value.reason, caught.value.param) == (Reason.BAD_VALUE, param)
    assert part in caught.value.message


@pytest.mark.parametrize("surface", SURFACES)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(surface: str, raw: bytes) -> None:
    with suppress(Refused):
        READS[surface][0](raw)
