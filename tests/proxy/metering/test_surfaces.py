"""Each surface's body, counted by words: what is read, where, and how it is framed."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from proxy.metering.families import Family, ToolPrompt, family_of
from proxy.metering.prompt import Prompt
from proxy.metering.surfaces import FILLS
from tests.proxy.metering.test_image_size import png, url

FAMILY = Family("x", per_prompt=3, per_message=4, per_system=4, per_result=4, per_call=7, per_parallel_call=14)


def words(text: str) -> int:
    return len(text.split())


def units(surface: str, body: dict[str, Any], family: Family = FAMILY, model: str = "gpt-4o") -> dict[str, int]:
    prompt = Prompt(family, model, words)
    FILLS[surface](prompt, body)
    return prompt.units()


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, int]:
    return units("chat", {"messages": list(messages)} | more)


def test_messages() -> None:
    assert chat({"role": "user", "content": "one two"}) == {"input": 3 + 4 + 2}
    assert chat({"role": "user", "name": "bob", "content": "one two"}) == {"input": 3 + 4 + 2 + 2}
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert chat({"role": "system", "content": "be brief"}, {"role": "user", "content": parts}) == {"input": 3 + 8 + 4}
    assert chat({"role": "assistant", "content": None, "reasoning_content": "hm hm", "refusal": "no"}) == {"input": 7 + 3}


def test_calls_and_results() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "a b"}}
    assert chat({"role": "assistant", "tool_calls": [call]}) == {"input": 3 + 4 + 7 + 3}
    assert chat({"role": "assistant", "tool_calls": [call, call]}) == {"input": 3 + 4 + 2 * (14 + 3)}
    assert chat({"role": "assistant", "function_call": {"name": "f", "arguments": "a"}}) == {"input": 3 + 4 + 7 + 2}
    assert chat({"role": "tool", "tool_call_id": "call_1", "content": "sunny"}) == {"input": 3 + 4 + 1}


TOOL = {"type": "function", "function": {"name": "f", "description": "does things", "parameters": {"type": "object", "properties": {}}}}
FLAT = {"type": "function"} | TOOL["function"]  # type: ignore[operator]


def test_tools_are_typescript_for_openai_and_json_for_others() -> None:
    openai = replace(FAMILY, typescript=True, tools=ToolPrompt(12, 20), less_after_system=4, less_for_responses=7)
    user = {"role": "user", "content": "hi"}
    rendered = words("namespace functions { // does things type f = () => any; } // namespace functions")

    def tools(family: Family = openai, **more: Any) -> int:
        return units("chat", {"messages": [user], "tools": [TOOL]} | more, family)["input"] - 3 - 4 - 1

    assert tools() == 12 + rendered
    assert tools(tool_choice="required") == 20 + rendered
    assert tools(messages=[{"role": "system", "content": ""}, user]) == 12 - 4 + 4 + rendered
    assert tools(tools=None, functions=[TOOL["function"]]) == 12 + rendered
    as_json = words('{"name":"f","description":"does things","parameters":{"type":"object","properties":{}}}')
    assert tools(replace(openai, typescript=False, per_tool=5)) == 12 + 5 + as_json
    assert tools(replace(openai, tools_permille=0)) == 12
    flat = units("responses", {"input": "hi", "tools": [FLAT, {"type": "web_search"}]}, openai)
    assert flat == {"input": 3 + 4 + 1 + 12 - 7 + rendered}


def test_answer_schemas() -> None:
    family = replace(FAMILY, per_schema=4)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"title": "two words"}}}
    body = {"messages": [], "response_format": schema}
    assert units("chat", body, family) == {"input": 3 + 4 + 2}
    assert units("chat", body, replace(family, schema_permille=0)) == {"input": 3}
    flat = {"type": "json_schema", "name": "x", "schema": {"title": "two words"}}
    assert units("responses", {"input": [], "text": {"format": flat}}, family) == {"input": 3 + 4 + 2}
    assert units("chat", {"messages": [], "response_format": {"type": "json_object"}}, family) == {"input": 3}


def test_media_have_units_of_their_own() -> None:
    image = {"type": "image_url", "image_url": {"url": url(png(400, 400)), "detail": "high"}}
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(bytes(32_000)).decode(), "format": "mp3"}}
    assert chat({"role": "user", "content": [image, audio]}) == {"input": 7, "input_image": 255, "input_audio": 20}
    assert units("responses", {"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "https://x", "detail": "low"}, {"type": "input_text", "text": "hi"},
    ]}]}) == {"input": 8, "input_image": 85}  # fmt: skip
    text = "data:text/plain;base64," + base64.b64encode(b"one two three").decode()
    assert chat({"role": "user", "content": [{"type": "file", "file": {"file_data": text}}]}) == {"input": 7 + 3}
    assert chat({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}) == {"input": 7 + 720}


def test_anthropics_own_blocks() -> None:
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": url(png(100, 100)).partition(",")[2]}},
        {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "one two"}]},
    ]
    system = [{"type": "text", "text": "be brief"}]
    body = {"system": system, "messages": [{"role": "user", "content": blocks}], "thinking": {"type": "enabled"}}
    family = replace(family_of("claude-sonnet-4-5"), input_permille=1000)
    assert units("chat", body, family) == {"input": 3 + 4 + 2 + 2 + 28, "input_image": 18}
    assert units("chat", body | {"thinking": {"type": "disabled"}}, family)["input"] == 3 + 4 + 2 + 2


def test_responses_items() -> None:
    assert units("responses", {"instructions": "be brief", "input": "hi"}) == {"input": 3 + 4 + 2 + 4 + 1}
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "not sent"}], "encrypted_content": "x" * 100},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "a"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "a"},
        {"type": "function_call_output", "call_id": "c", "output": "sunny day"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "it is sunny"}]},
    ]
    assert units("responses", {"input": items}) == {"input": 3 + 5 + 10 + (4 + 2 * (14 + 2)) + (4 + 2) + (4 + 3)}


@pytest.mark.parametrize("surface", ["completions", "embeddings"])
def test_strings_and_token_ids(surface: str) -> None:
    field = {"completions": "prompt", "embeddings": "input"}[surface]
    for value, tokens in (
        ("one two", 2), (["one", "two three"], 3), ([5, 6, 7], 3), ([[5, 6], [7]], 3), ([], 0), (None, 0), ({}, 0), (7, 0),
    ):  # fmt: skip
        assert units(surface, {field: value}) == {"input": tokens}
    assert units("completions", {"prompt": "one", "suffix": "two three"}) == {"input": 3}


@pytest.mark.parametrize(
    "odd",
    [
        {"messages": [{"role": ["x"], "content": 5, "name": 5, "tool_calls": [None, {"function": "f"}, {"function": {"arguments": 5}}]}]},
        {"messages": "text", "tools": {"a": 1}, "tool_choice": [1]},
        {"input": [{"type": ["x"]}, {"type": "function_call"}, 5, None], "text": [], "tools": [5, {"name": 7}]},
        {"messages": [{"content": [{"type": ["image_url"]}, {"type": "image_url", "image_url": 5}, {"type": "file", "file": "x"}, 7]}]},
    ],
)
def test_odd_bodies(odd: dict[str, Any]) -> None:
    for surface in FILLS:
        assert units(surface, odd)["input"] >= 0
