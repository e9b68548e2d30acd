"""Reads usage from answers of the Responses API: a response object, whole or inside an event of a stream.

`input_tokens` includes what was read from and written to a cache, `output_tokens` includes reasoning (OpenAPI, ResponseUsage;
recording 13: 282 with 214 of reasoning). So with the names changed the sums are chat's. What the provider's own tools did
stands beside it: `tool_usage` since 2026 (recording 13), before that only as items of the output (recording 14).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from pricing.usage import Part, Usage
from proxy.metering.hosted_tools import HostedTools, Item
from proxy.metering.reading import ImagesMade, Reading
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, object_in, says_error, tier_name, tier_of
from proxy.providers.counts import Counts, child
from proxy.providers.usage_sums import Sums

_GOES_ON = frozenset(["queued", "in_progress"])


class _Response(msgspec.Struct):
    status: Any = None
    error: Raw = ABSENT
    usage: Raw = ABSENT
    tool_usage: Raw = ABSENT
    output: Raw = ABSENT
    tools: Raw = ABSENT
    service_tier: Raw = ABSENT
    object: Raw = ABSENT
    type: Raw = ABSENT
    response: Raw = ABSENT  # an event's


_decoder = msgspec.json.Decoder(_Response)
_values = msgspec.json.Decoder(list[Raw])
_items = msgspec.json.Decoder(Item)
_Tool = dict[str, object]


class ResponsesUsageReader:
    """`sums`: what this provider's fields mean, once they have chat's names."""

    needle = b'"output_tokens"'

    def __init__(self, sums: Sums) -> None:
        self._sums = sums

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
            error = says_error(answer.error, answer.type, answer.object)
            if answer.response is not ABSENT and bytes(answer.response) not in NULLS:
                answer = _decoder.decode(answer.response)
                error = error or says_error(answer.error)
        except UNREADABLE:
            return Reading(garbled=True)
        error = error or answer.status == "failed"
        pending = isinstance(answer.status, str) and answer.status in _GOES_ON
        raw = bytes(answer.usage)
        if raw in NULLS:
            return Reading(error=error, pending=pending)
        told = bytes(answer.tool_usage) not in NULLS
        text = as_text(("usage", raw), ("tool_usage", answer.tool_usage)) if told else as_text(("usage", raw))
        tools = _tools_of(answer.output)
        parts: tuple[Part, ...] = ()
        usage = self._sum_up(raw)
        if usage is not None:
            usage.service_tier = tier_of(bytes(answer.service_tier)) or usage.service_tier
            parts = _add_tools(usage, tools, answer)
        return Reading(
            usage, text, error=error, garbled=usage is None, pending=pending, parts=parts,
            images=_in_order(tools) if usage is not None else (),
        )  # fmt: skip

    def _sum_up(self, raw: bytes) -> Usage | None:
        fields = object_in(raw)
        if fields is None:
            return None
        usage = self._sums({
            **fields,
            "prompt_tokens": fields.get("input_tokens"),
            "completion_tokens": fields.get("output_tokens"),
            "prompt_tokens_details": fields.get("input_tokens_details"),
            "completion_tokens_details": fields.get("output_tokens_details"),
        })
        if usage is not None:
            usage.service_tier = tier_name(fields.get("service_tier"))
            _add_xai_tools(usage, fields)
        return usage


def _tools_of(output: Raw) -> HostedTools:
    tools = HostedTools()
    try:
        items = _values.decode(output)
    except UNREADABLE:  # absent, or no array
        return tools
    for raw in items:
        try:
            tools.see(_items.decode(raw))
        except UNREADABLE:
            continue
    return tools


def _add_tools(usage: Usage, tools: HostedTools, answer: _Response) -> tuple[Part, ...]:
    """Where the provider counts, its counts; else items. Returns what another model consumed."""
    counted = tools.units()
    told = object_in(answer.tool_usage) or {}
    counts = Counts(told)
    searches = counts.of(child(told, "web_search"), "num_requests")
    if searches is not None:
        counted["web_searches"] = searches
    parts = _image_model(child(told, "image_gen"), answer.tools)
    if parts:
        # Priced by another model. Until an event can hold its lines, the images say that something is missing here.
        counted["images"] = max(counted.get("images", 0), 1)
    for unit, count in counted.items():
        usage.units.setdefault(unit, count)
    usage.inconsistent = usage.inconsistent or counts.inconsistent
    return parts


def _image_model(told: dict[str, object], tools: Raw) -> tuple[Part, ...]:
    """`tool_usage.image_gen`: tokens of the image model, not inside the response's (recording 13 has its shape).

    As for images by themselves: text and image tokens in, image tokens out, the rest of the output text.
    """
    counts = Counts(told)
    inside, out = child(told, "input_tokens_details"), child(told, "output_tokens_details")
    given, made = counts.get("input_tokens") or 0, counts.get("output_tokens") or 0
    images_in = min(counts.of(inside, "image_tokens") or 0, given)
    texts_out = min(counts.of(out, "text_tokens") or 0, made)
    units = {"input": given - images_in, "input_image": images_in, "output": texts_out, "output_image": made - texts_out}
    units = {unit: count for unit, count in units.items() if count}
    return (Part(_image_tool_model(tools), units),) if units else ()


def _image_tool_model(tools: Raw) -> str | None:
    """The answer repeats the request's tools, and theirs may name the model."""
    try:
        for tool in msgspec.json.decode(tools, type=list[_Tool]):
            model = tool.get("model")
            if tool.get("type") == "image_generation" and isinstance(model, str):
                return model[:256]
    except UNREADABLE:
        pass
    return None


def _add_xai_tools(usage: Usage, fields: dict[str, object]) -> None:
    """xAI counts its tools inside usage, each at a price per call."""
    details = child(fields, "server_side_tool_usage_details")
    if not details:
        return
    counts = Counts(details)
    for unit, names in (
        ("web_searches", ("web_search_calls", "x_search_calls")),
        ("file_searches", ("file_search_calls", "document_search_calls")),
        ("code_sessions", ("code_interpreter_calls",)),
    ):
        found = [count for name in names if (count := counts.get(name)) is not None]
        if found:
            usage.units[unit] = sum(found)
    usage.inconsistent = usage.inconsistent or counts.inconsistent


def _in_order(tools: HostedTools) -> tuple[ImagesMade, ...]:
    return tuple(sorted(tools.images()))
