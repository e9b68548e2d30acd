"""Whatever a body refers to is found, wherever it stands and however it is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.objects.references import HARMLESS, MOST, Reference, line_references, references
from proxy.wire.refusals import Reason, Refused
from tests.wire.recordings import WIRE_DIR, params

FILE = "file-6F2ksmvXxt4VdoqmHRw6kL"
RESPONSE = "resp_0ee665a65cc07abb0068f966ccd6648197b6c0608c0f3efecc"
VECTOR = "vs_689f74e29ec88192a33523ce531650ec"


def found(body: Any, *, items: bool = True) -> set[tuple[str, str]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {(reference.kind, reference.id) for reference in references(raw, items=items)}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"previous_response_id": "r1"}, ("response", "r1")),
        ({"conversation": "c1"}, ("conversation", "c1")),
        ({"conversation": {"id": "c1"}}, ("conversation", "c1")),
        ({"prompt": {"id": "p1", "version": "2"}}, ("prompt", "p1")),
        ({"prompt": {"id": "p1", "variables": {"doc": {"type": "input_file", "file_id": "f1"}}}}, ("file", "f1")),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f1"}]}]}, ("file", "f1")),
        ({"input": [{"type": "computer_call_output", "output": {"file_id": "f1"}}]}, ("file", "f1")),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v0", "v1"]}]}, ("vector_store", "v1")),
        ({"tools": [{"type": "code_interpreter", "container": "k1"}]}, ("container", "k1")),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f1"]}}]},
            ("file", "f1"),
        ),
        ({"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f1"}}]}, ("file", "f1")),
        ({"tools": [{"type": "mcp", "tunnel_id": "t1"}]}, ("tunnel", "t1")),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("item", "msg_1")),
        ({"input": [{"id": "msg_1"}]}, ("item", "msg_1")),
        ({"input": ["x", [[{"type": "item_reference", "id": "msg_1"}]]]}, ("item", "msg_1")),
        ({"items": [{"type": "message", "id": "msg_1", "content": []}]}, ("item", "msg_1")),
        ({"input": [{"content": [{"annotations": [{"file_id": "cfile_689f74e29ec88192a335"}]}]}]},
         ("container_file", "cfile_689f74e29ec88192a335")),
        ({"input": [{"type": "x", "environment": {"type": "container_reference", "container_id": "k1"}}]}, ("container", "k1")),
        ({"input": [{"new_thing": {"attached": RESPONSE}}]}, ("response", RESPONSE)),
        ({"input": [{"new_things": [VECTOR]}]}, ("vector_store", VECTOR)),
        ({"video": {"id": "video_1"}}, ("video", "video_1")),
    ],
)  # fmt: skip
def test_what_responses_refer_to(body: Any, wanted: tuple[str, str]) -> None:
    assert wanted in found(body)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"messages": [{"content": [{"type": "file", "file": {"file_id": "f1"}}]}]}, {("file", "f1")}),
        ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, {("audio", "audio_1")}),
        ({"input_file_id": "f1", "endpoint": "/v1/responses"}, {("file", "f1")}),
        ({"training_file": "f1", "validation_file": None}, {("file", "f1")}),
        ({"name": "books", "file_ids": ["f1", "f2"]}, {("file", "f1"), ("file", "f2")}),
        ({"MESSAGES": [{"File_ID": "f1"}]}, {("file", "f1")}),
    ],
)
def test_what_other_surfaces_refer_to(body: Any, wanted: set[tuple[str, str]]) -> None:
    assert found(body, items=False) == wanted


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": f"What is in {FILE}?"}]},
        {"model": "m", "messages": [{"role": "user", "content": FILE}], "metadata": {"file_id": FILE}},
        {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"file_id": FILE})}]},
        {"input": [{"type": "function_call_output", "call_id": "call_1", "output": RESPONSE}]},
        {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"enum": [FILE]}}}}]},
        {"prompt": "A cat", "safety_identifier": RESPONSE, "user": FILE, "prompt_cache_key": RESPONSE},
        {"prompt": {"variables": {"file_id": "the text of a file"}}},
        {"include": ["file_search_call.results"], "tools": [{"type": "file_search"}], "audio": {"voice": "alloy"}},
        {"input": "run_tests-with-everything-that-there-is-2"},
    ],
)
def test_the_clients_own_words_are_no_references(body: Any) -> None:
    assert found(body) == set()
    assert found(body, items=False) == set()


@pytest.mark.parametrize(
    ("item", "inline"),
    [
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}, True),
        ({"role": "assistant", "content": "x"}, True),
        ({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}, True),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, True),
        ({"type": "reasoning", "summary": []}, False),
        ({"type": "reasoning", "summary": [], "encrypted_content": None}, False),
        ({"type": "item_reference"}, False),
        ({"type": None}, False),
        ({}, False),
        ({"type": "image_generation_call"}, False),
        ({"type": "image_generation_call", "result": "aGk="}, True),
    ],
)
def test_an_item_without_its_content_is_a_reference(item: dict[str, Any], inline: bool) -> None:
    (reference,) = references(json.dumps({"input": [{"id": "x_1", **item}]}).encode(), items=True)
    assert reference == Reference("item", "x_1", "input[0].id", inline)


def test_a_type_given_twice_is_the_stricter_one() -> None:
    raw = b'{"input":[{"type":"item_reference","id":"x_1","type":"message","role":"user","content":"x"}]}'
    assert references(raw, items=True)[0].inline is False
    raw = b'{"input":[{"type":"reasoning","id":"x_1","encrypted_content":"x","encrypted_content":""}]}'
    assert references(raw, items=True)[0].inline is False


def test_it_is_said_where_a_reference_stands() -> None:
    body = {
        "input": [{}, {"content": [{"file_id": "f1"}]}],
        "tools": [{"vector_store_ids": ["v1"]}],
        "prompt": {"id": "p"},
    }
    assert {reference.param for reference in references(json.dumps(body).encode(), items=True)} == {
        "input[1].content[0].file_id", "tools[0].vector_store_ids", "prompt.id",
    }  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b'{"previous_response_id":"own","previous_response_id":"foreign"}',
        b'{"previous_response_id":"foreign","previous_response_id":"own"}',
        b'{"previous_response_id":"own","previous\\u005fresponse_id":"foreign"}',
        b'{"previous_response_id":"own","Previous_Response_ID":"foreign"}',
        b'{"previous_response_id":"own","\\u0070revious_re\\u017fponse_id":"foreign"}',
        '{"previous_response_id":"own","previous_reſponse_id":"foreign"}'.encode(),
        b'{"previous_response_id":"own","previous_response_id":"f\\u006freign"}',
        b'{"previous_response_id":"own","previous_response_id" \n:\t"foreign"}',
    ],
)
@pytest.mark.parametrize("items", [True, False])
def test_no_spelling_hides_an_id(raw: bytes, items: bool) -> None:
    assert found(raw, items=items) == {("response", "own"), ("response", "foreign")}


@pytest.mark.parametrize(
    "key", ["file_idſ", "file_id\\u017f", "FILE_IDS", "file\\u005fids", "fi\\u006ce_ids", "file_i\\u0064s"]
)
def test_one_hidden_key_alone(key: str) -> None:
    assert found(f'{{"{key}":["f1"]}}'.encode(), items=False) == {("file", "f1")}


@pytest.mark.parametrize("raw", [b'{"file_id":', b'{"file_id":"\xff"}', b"[" * 200_000 + b'"file_id"'])
def test_what_cannot_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as refused:
        references(raw, items=True)
    assert refused.value.reason is Reason.BAD_JSON


def test_there_is_a_bound() -> None:
    with pytest.raises(Refused, match=str(MOST)):
        references(json.dumps({"file_ids": [f"f{n}" for n in range(MOST + 1)]}).encode(), items=False)


def test_each_is_named_once() -> None:
    assert len(references(json.dumps({"input": [{"file_id": FILE}] * 500}).encode(), items=True)) == 1


def test_the_lines_of_a_batch_are_requests_too() -> None:
    lines = [
        {"custom_id": "1", "url": "/v1/responses", "body": {"input": [{"type": "item_reference", "id": "msg_1"}]}},
        {"custom_id": "2", "url": "/v1/responses", "body": {"previous_response_id": "resp_1"}},
        {"custom_id": FILE, "url": "/v1/chat/completions", "body": {"messages": [{"content": FILE}]}},
    ]
    there = line_references(b"\r\n".join(json.dumps(line).encode() for line in lines) + b"\n\n")
    assert {reference.id for reference in there} == {"msg_1", "resp_1"}
    with pytest.raises(Refused):
        line_references(b'{"body":{}}\nnot json')


# ---- any body, any spelling

KEYS = ["previous_response_id", "file_id", "vector_store_ids", "container_id", "input_file_id"]


@st.composite
def spelled(draw: st.DrawFn, text: str, *, cases: bool) -> str:
    """A JSON string that reads as `text`; with `cases`, as another case of it."""
    made = ""
    for char in text:
        if cases and draw(st.booleans()):
            char = char.swapcase()
        made += f"\\u{ord(char):04x}" if draw(st.integers(0, 3)) == 0 else char
    return f'"{made}"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, str]:
    """A body that refers to `secret` somewhere, among other things, with its keys in any order and twice."""
    secret = draw(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{3,20}[a-z0-9]", fullmatch=True))
    value = draw(spelled(secret, cases=False))
    key = draw(st.sampled_from(KEYS))
    blank = st.sampled_from(["", " ", "\n", "\t "])
    if draw(st.booleans()):
        value = f"[{json.dumps(draw(JSON))},{value}]"
    made = value
    for depth in range(draw(st.integers(1, 5))):
        name = (
            draw(spelled(key, cases=True))
            if depth == 0
            else json.dumps(draw(st.sampled_from(["input", "tools", "x", "content"])))
        )
        fields = [f"{name}{draw(blank)}:{draw(blank)}{made}"]
        for _ in range(draw(st.integers(0, 2))):
            other = name if draw(st.booleans()) else json.dumps(draw(st.text(max_size=5)))
            fields.append(f"{other}:{json.dumps(draw(JSON), ensure_ascii=draw(st.booleans()))}")
        made = "{" + ",".join(draw(st.permutations(fields))) + "}"
        if draw(st.booleans()):
            made = f"[{json.dumps(draw(JSON))},{made}]"
    if made.startswith("["):
        made = f'{{"input":{made}}}'
    return made.encode("utf-8", "surrogatepass"), secret


@settings(max_examples=400, deadline=None)
@given(bodies(), st.booleans())
def test_an_id_is_found_or_the_body_refused(body: tuple[bytes, str], items: bool) -> None:
    raw, secret = body
    try:
        there = {reference.id for reference in references(raw, items=items)}
    except Refused:
        return
    assert secret in there


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_refusal_comes_of_any_bytes(raw: bytes) -> None:
    for items in (True, False):
        try:
            references(raw, items=items)
        except Refused as refused:
            assert refused.reason is Reason.BAD_JSON


# ---- the provider's own document

SPEC = WIRE_DIR.parent / "specs" / "openai.openapi.yml"
SURFACES = (
    "/responses",
    "/conversations",
    "/batches",
    "/vector_stores",
    "/containers",
    "/chat/completions",
    "/videos",
    "/images",
)
NAMED = re.compile(r"(?:_ids?|_file|^conversation|^container|^prompt|^video)$")
# Ends of calls in the same body, public names (connectors, curated skills), text, uploads.
NONE_OF_THESE = HARMLESS | {"connector_id", "approval_request_id", "skill_id", "group_id", "part_ids"}


def ref_paths(
    schema: Any, schemas: Any, path: tuple[str, ...] = (), seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Where the schema has a property with a name of a reference. `[]` is any element, `{}` any key."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from ref_paths(schemas[name], schemas, path, (*seen, name))
        return
    for choice in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(choice, []):
            yield from ref_paths(inner, schemas, path, seen)
    for name, inner in schema.get("properties", {}).items():
        if NAMED.search(name):
            yield (*path, name)
        yield from ref_paths(inner, schemas, (*path, name), seen)
    yield from ref_paths(schema.get("items"), schemas, (*path, "[]"), seen)
    yield from ref_paths(schema.get("additionalProperties"), schemas, (*path, "{}"), seen)


def nested(path: tuple[str, ...], value: Any) -> Any:
    for step in reversed(path):
        value = [value] if step == "[]" else {"a" if step == "{}" else step: value}
    return value


def test_every_field_of_the_openapi_document_that_names_objects_is_read() -> None:
    if not SPEC.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {SPEC}")
        pytest.skip(f"no {SPEC}: set WIRE_DIR")
    document = yaml.load(SPEC.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = document["components"]["schemas"]
    checked: set[tuple[str, ...]] = set()
    for url, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if not url.startswith(SURFACES) or body is None:
            continue
        items = not url.startswith(("/chat", "/images", "/batches", "/vector_stores", "/containers"))
        for path in set(ref_paths(body["schema"], schemas)):
            name = path[-1]
            if name in NONE_OF_THESE or "parameters" in path:
                continue
            value: Any = ["the-id"] if name.endswith("_ids") else "the-id"
            if name in ("prompt", "video"):
                if url.startswith(("/images", "/chat")) or (name == "prompt" and url.startswith("/videos")):
                    continue  # text
                value = {"id": "the-id"}
            assert "the-id" in {id for _, id in found(nested(path, value), items=items)}, (url, path)
            checked.add(path)
    assert len(checked) > 25


@pytest.mark.parametrize("recording", params(5, 13, 14, 15))
def test_what_recorded_requests_refer_to(recording: Any) -> None:
    asked = recording.request
    if asked is None or "model" not in asked:
        return
    wanted = {("item", item["id"]) for item in asked.get("input", []) if isinstance(item, dict) and "id" in item}
    if "previous_response_id" in asked:
        wanted.add(("response", asked["previous_response_id"]))
    assert found(asked) == wanted
    assert all(
        reference.inline for reference in references(json.dumps(asked).encode(), items=True) if reference.kind == "item"
    )
