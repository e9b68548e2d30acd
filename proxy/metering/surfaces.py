"""Where each surface of OpenAI's API holds what a model reads. Pure; never raises on any JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from proxy.metering.prompt import SYSTEM, Prompt

Fill = Callable[[Prompt, dict[str, Any]], None]
_MAX_ITEMS = 100_000


def chat(prompt: Prompt, body: dict[str, Any]) -> None:
    messages = _objects(body.get("messages"))
    prompt.framing += prompt.family.per_prompt
    system = body.get("system")  # Anthropic's place for it
    if system:
        prompt.message("system", system)
    for message in messages:
        prompt.message(message.get("role"), message.get("content"), message.get("name"))
        prompt.text(message.get("reasoning_content"))
        prompt.text(message.get("refusal"))
        prompt.calls(_objects(message.get("tool_calls")) or _objects([message.get("function_call")]))
    tools = _list(body.get("tools")) or _list(body.get("functions"))
    choice = body.get("tool_choice") if "tool_choice" in body else body.get("function_call")
    has_system = bool(system) or any(message.get("role") in SYSTEM for message in messages)
    prompt.functions(tools, system=has_system, choice=choice)
    prompt.schema(body.get("response_format"))
    if _thinks(body):
        prompt.framing += prompt.family.per_thinking


def responses(prompt: Prompt, body: dict[str, Any]) -> None:
    """What `previous_response_id`, `conversation` or a stored `prompt` stand for is not in the body: not counted."""
    prompt.framing += prompt.family.per_prompt
    instructions = body.get("instructions")
    has_system = bool(instructions)
    if instructions:
        prompt.message("system", instructions)
    given = body.get("input")
    if isinstance(given, str):
        prompt.message("user", given)
    calls: list[dict[str, Any]] = []
    for item in [*_objects(given), {"type": "end"}]:
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call"):
            calls.append(item)
            continue
        if calls:  # neighbours are one answer's
            prompt.message("assistant", None)
            prompt.calls(calls)
            calls = []
        if kind == "message":
            has_system = has_system or item.get("role") in SYSTEM
            prompt.message(item.get("role"), item.get("content"))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            prompt.message("tool", item.get("output"))
        elif kind == "reasoning":
            prompt.reasoning(item)
        elif kind != "end":
            prompt.text(item)
    less = prompt.family.less_for_responses
    prompt.functions(_list(body.get("tools")), system=has_system, choice=body.get("tool_choice"), less=less)
    text = body.get("text")
    prompt.schema(text.get("format") if isinstance(text, dict) else None)


def completions(prompt: Prompt, body: dict[str, Any]) -> None:
    _strings_or_ids(prompt, body.get("prompt"))
    prompt.text(body.get("suffix") if isinstance(body.get("suffix"), str) else None)


def embeddings(prompt: Prompt, body: dict[str, Any]) -> None:
    _strings_or_ids(prompt, body.get("input"))


def _thinks(body: dict[str, Any]) -> bool:
    thinking = body.get("thinking")
    if isinstance(thinking, dict):
        return thinking.get("type") != "disabled"
    return body.get("reasoning_effort") not in (None, "none")


def _strings_or_ids(prompt: Prompt, value: object) -> None:
    """A string, strings, token ids, lists of token ids."""
    if isinstance(value, str):
        prompt.text(value)
        return
    ids = 0
    for one in _list(value):
        if isinstance(one, int):
            ids += 1
        elif isinstance(one, list):
            ids += len(one)
        else:
            prompt.text(one)
    prompt.token_ids(ids)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object | Iterable[object]) -> list[dict[str, Any]]:
    return [one for one in _list(value)[:_MAX_ITEMS] if isinstance(one, dict)]


# An unknown surface is read as chat. Moderations cost nothing.
FILLS: dict[str, Fill] = {"chat": chat, "responses": responses, "completions": completions, "embeddings": embeddings}
FREE = frozenset(["moderations"])
WITHOUT_OUTPUT = frozenset(["embeddings"])
