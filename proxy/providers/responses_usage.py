"""Reads usage from answers of the Responses API: a response object, whole or inside an event of a stream.

`input_tokens` includes what was read from and written to a cache, `output_tokens` includes reasoning (OpenAPI, ResponseUsage;
recording 13: 282 with 214 of reasoning). So with the names changed the sums are chat's. What the provider's own tools did
stands beside it: `tool_usage` since 2026 (recording 13), before that only as items of the output (recording 14).

| field | what it is here |
|---|---|
| usage.input_tokens - its details | input |
| usage.input_tokens_details.cached_tokens | cache_read |
| usage.input_tokens_details.cache_write_tokens, .cache_write_tokens_details by lifetime | cache_write_30m, cache_write_12h |
| usage.output_tokens | output, reasoning inside |
| tool_usage.web_search.num_requests, else web_search_call items that search | web_searches |
| tool_usage.image_gen | a part: tokens at the price of the image model, on top of the totals |
| image_generation_call items, where there is no image_gen | images/1024x1024/high and the like |
| file_search_call items; different containers | file_searches; code_sessions |
| usage.server_side_tool_usage_details (xAI), usage.tool_calls_details (Perplexity) | web_searches and others |

Source: openai 3.57, types/responses/response_usage.py, response.py; perplexityai 0.46, types/responses_usage.py.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from pricing.usage import Part, Usage
from proxy.metering.hosted_tools import HostedTools, Item
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import (
    ABSENT,
    NULLS,
    UNREADABLE,
    as_text,
    hides_error,
    name_of,
    object_in,
    says_error,
    tier_name,
    tier_of,
)  # fmt: skip
from proxy.providers.counts import Counts, child, image_model_units
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
            return Reading(error=error or hides_error(data), pending=pending)
        told = bytes(answer.tool_usage) not in NULLS
        text = as_text(("usage", raw), ("tool_usage", answer.tool_usage)) if told else as_text(("usage", raw))
        tools = _tools_of(answer.output)
        usage = self._sum_up(raw)
        if usage is not None:
            usage.service_tier = tier_of(bytes(answer.service_tier)) or usage.service_tier
            _add_tools(usage, tools, answer)
        return Reading(usage, text, error=error, garbled=usage is None, pending=pending)

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
            _add_perplexity_tools(usage, fields)
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


def _add_tools(usage: Usage, tools: HostedTools, answer: _Response) -> None:
    """Where the provider counts, its counts; else items."""
    told = object_in(answer.tool_usage) or {}
    counts = Counts(told)
    wanted = _image_tool(answer.tools)
    counted = tools.units(size=wanted.get("size"), quality=wanted.get("quality"))
    searches = counts.of(child(told, "web_search"), "num_requests")
    if searches is not None:
        counted["web_searches"] = searches
    took = {unit: count for unit, count in image_model_units(counts, child(told, "image_gen")).items() if count}
    if took:
        usage.parts = (Part(name_of(wanted.get("model")), took),)
        counted = {unit: count for unit, count in counted.items() if not unit.startswith("images")}
    for unit, count in counted.items():
        usage.units.setdefault(unit, count)
    usage.inconsistent = usage.inconsistent or counts.inconsistent


def _image_tool(tools: Raw) -> _Tool:
    """The answer repeats the request's tools: theirs may name the image model, a size, a quality."""
    try:
        for tool in msgspec.json.decode(tools, type=list[_Tool]):
            if tool.get("type") == "image_generation":
                return tool
    except UNREADABLE:
        pass
    return {}


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


def _add_perplexity_tools(usage: Usage, fields: dict[str, object]) -> None:
    """Perplexity says how often each of its tools was called; pages that it fetches cost nothing but their tokens."""
    called = child(child(fields, "tool_calls_details"), "search_web")
    counts = Counts(called)
    searches = counts.get("invocation")
    if searches is not None:
        usage.units["web_searches"] = searches
    usage.inconsistent = usage.inconsistent or counts.inconsistent
