"""Reads usage from Groq's answers: as OpenAI's, and of its Compound systems what each model inside consumed.

| field | what it is here |
|---|---|
| usage, or x_groq.usage in a stream | as OpenAI's |
| usage_breakdown.models[]: model, usage | a part each, at the price of that model, taken out of the totals |
| choices[].message.executed_tools[] | web_searches, code_sessions |

Source: groq 1.7, types/chat/chat_completion.py (UsageBreakdown), chat_completion_message.py (ExecutedTool).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pricing.usage import Part, Usage
from proxy.metering.reading import Reading
from proxy.providers import usage_sums
from proxy.providers.answer_parts import UNREADABLE, name_of
from proxy.providers.counts import Counts, child, objects
from proxy.providers.openai_usage import OpenAIUsageReader
from proxy.providers.plain_usage import plain_usage

# Two names of one tool each: Compound's and that of the models with tools built in.
_SEARCHES = frozenset(["search", "web_search", "browser_search"])
_CODE = frozenset(["python", "code_interpreter", "code_execution"])


class _Message(msgspec.Struct):
    executed_tools: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    usage_breakdown: dict[str, object] | None = None


_decoder = msgspec.json.Decoder(_Answer)


class GroqUsageReader(OpenAIUsageReader):
    """Stateless."""

    def __init__(self) -> None:
        super().__init__(usage_sums.openai, plain=plain_usage)

    def read(self, data: bytes) -> Reading:
        reading = super().read(data)
        usage = reading.usage
        if usage is None or (b'"usage_breakdown"' not in data and b'"executed_tools"' not in data):
            return reading
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            usage.inconsistent = True  # it says more than can be read
            return reading
        _split(usage, answer.usage_breakdown or {})
        _add_tools(usage, answer.choices)
        return reading


def _split(usage: Usage, breakdown: dict[str, object]) -> None:
    """Each model has its price, so its tokens are no longer this one's. What nobody says he consumed remains."""
    counts = Counts({})
    parts: list[Part] = []
    for entry in objects(breakdown, "models"):
        found = usage_sums.openai(child(entry, "usage"))
        if found is None:
            counts.inconsistent = True
            continue
        units: dict[str, int] = {}
        for unit, count in found.units.items():
            units[unit] = counts.at_most(usage.units.get(unit, 0), count)
            if unit in usage.units:
                usage.units[unit] -= units[unit]
        units = {unit: count for unit, count in units.items() if count}
        if units:
            parts.append(Part(name_of(entry.get("model")), units))
    usage.parts = tuple(parts)
    left = sum(usage.units.values()) if parts else 0
    if usage.reasoning_tokens is not None and parts:
        usage.reasoning_tokens = min(usage.reasoning_tokens, usage.units["output"])
    usage.inconsistent = usage.inconsistent or counts.inconsistent or left > 0


def _add_tools(usage: Usage, choices: list[_Choice]) -> None:
    messages = [message for choice in choices for message in (choice.message, choice.delta) if message is not None]
    tools = [tool.get("type") for message in messages for tool in objects({"": message.executed_tools}, "")]
    kinds = [tool for tool in tools if isinstance(tool, str)]
    searches = sum(kind in _SEARCHES for kind in kinds)
    if searches:
        usage.units["web_searches"] = searches
    if any(kind in _CODE for kind in kinds):
        usage.units["code_sessions"] = 1
