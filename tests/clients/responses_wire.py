"""Bodies and events of the Responses API, as OpenAI sends them (recordings 13 to 15)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tests.clients.expected import ANSWER, CITY, WEATHER

CREATED = 1_767_225_600


def output(body: dict[str, Any], arguments: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """The items of the answer: a tool is called once, an answer of a wanted shape has it."""
    asked = body["input"]
    items = asked if isinstance(asked, list) else []
    if any(item.get("type") == "function_call_output" for item in items):
        return [_message(WEATHER)]
    functions = [tool["name"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    if functions:
        text = orjson.dumps(arguments.get(functions[0], CITY)).decode()
        call = {"id": "fc_1", "type": "function_call", "status": "completed", "arguments": text, "call_id": "call_1"}
        return [{**call, "name": functions[0]}]
    wanted = ((body.get("text") or {}).get("format") or {}).get("type", "text")
    return [_message(ANSWER if wanted == "text" else orjson.dumps(CITY).decode())]


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def response(body: dict[str, Any], items: list[dict[str, Any]], usage: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": f"resp_{number:032x}", "object": "response", "created_at": CREATED, "status": "completed", "background": False,
        "error": None, "incomplete_details": None, "instructions": body.get("instructions"), "max_output_tokens": None,
        "model": body["model"], "output": items, "parallel_tool_calls": True, "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None}, "service_tier": "default", "store": body.get("store", True), "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}}, "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [], "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": None, "metadata": {},
    }  # fmt: skip


def events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    for index, item in enumerate(whole["output"]):
        told += [(kind, {"output_index": index, **fields}) for kind, fields in _of_item(item)]
    told.append(("response.completed", {"response": whole}))
    return [{"type": kind, "sequence_number": number, **fields} for number, (kind, fields) in enumerate(told)]


def _of_item(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    where = {"item_id": item["id"]}
    if item["type"] == "function_call":
        text = item["arguments"]
        yield "response.output_item.added", {"item": {**item, "status": "in_progress", "arguments": ""}}
        for start in range(0, len(text), 7):
            yield "response.function_call_arguments.delta", {**where, "delta": text[start : start + 7]}
        yield "response.function_call_arguments.done", {**where, "arguments": text, "name": item["name"]}
    else:
        (part,) = item["content"]
        where["content_index"] = 0
        yield "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}
        yield "response.content_part.added", {**where, "part": {**part, "text": ""}}
        for word in part["text"].replace(" ", " \n").split("\n"):
            yield "response.output_text.delta", {**where, "delta": word, "logprobs": []}
        yield "response.output_text.done", {**where, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**where, "part": part}
    yield "response.output_item.done", {"item": item}
