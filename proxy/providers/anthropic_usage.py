"""Reads usage from answers of Anthropic's Messages API, whole and streamed.

| field of `usage` | what it is here |
|---|---|
| input_tokens | input: neither read from nor written to a cache |
| cache_read_input_tokens | cache_read |
| cache_creation.ephemeral_5m_input_tokens, .ephemeral_1h_input_tokens | cache_write_5m, cache_write_1h |
| cache_creation_input_tokens | all that was written; what the split leaves of it lives as long as the request's ttl says |
| output_tokens | output, thinking inside (output_tokens_details.thinking_tokens) |
| server_tool_use.web_search_requests | web_searches: failed ones are not among them (recording 40) |
| iterations[] of type compaction | more of the above: the same model, not in the totals |
| iterations[] of type advisor_message | a part at the price of its model, not in the totals |
| iterations[] of type fallback_message | the model that served instead: a part, taken out of the totals |
| service_tier, speed, inference_geo | the tier that was served; `batch` is how it was processed |

Source: anthropic 2.13, types/beta/beta_usage.py, beta_message_delta_usage.py, beta_*_iteration_usage.py. A stream says all of
it in message_start; what a message_delta says replaces that: 43 input tokens become 61 (recording 39), 2,228 become 32,749
(40). The split by lifetime, the tier and the geo stand only in message_start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec import Raw

from pricing.usage import Part, Usage
from proxy.metering.reading import Reading, UsageStream
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
)  # fmt: skip
from proxy.providers.counts import Counts, child, objects, usage_of

# Inference that may run anywhere costs the list price, and models that cannot be asked say not_available. What runs in one
# place only has a price of its own ("Data residency", Claude API docs), so a tier of its own.
_ANYWHERE = frozenset(["global", "not_available"])
_INSIDE = frozenset(["message", "fallback_message"])


class _Answer(msgspec.Struct):
    type: Raw = ABSENT
    usage: Raw = ABSENT
    error: Raw = ABSENT
    message: Raw = ABSENT  # a message_start's


_decoder = msgspec.json.Decoder(_Answer)
_fields = msgspec.json.Decoder(dict[str, Raw])


class AnthropicUsageReader:
    """`written`: the unit of cache writes whose lifetime the answer does not say."""

    needle = b'"output_tokens"'

    def __init__(self, written: str = "cache_write_5m") -> None:
        self._written = written

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error, answer.type)
        raw = bytes(answer.usage)
        if raw in NULLS:
            return Reading(error=error or hides_error(data))
        return self._sum_up(raw)._replace(error=error)

    def stream(self) -> UsageStream:
        return _Stream(self._sum_up)

    def _sum_up(self, raw: bytes) -> Reading:
        fields = object_in(raw)
        usage = None if fields is None else _sum_up(fields, self._written)
        return Reading(usage, as_text(("usage", raw)), garbled=usage is None)


class _Stream:
    __slots__ = ("_error", "_garbled", "_said", "_sum_up", "_whole")

    def __init__(self, sum_up: Callable[[bytes], Reading]) -> None:
        self._sum_up = sum_up
        self._said: dict[str, bytes] = {}
        self._error = self._garbled = self._whole = False

    def feed(self, data: bytes) -> None:
        try:
            event = _decoder.decode(data)
            self._error = self._error or says_error(event.error, event.type) or hides_error(data)
            starts = bytes(event.message) not in NULLS
            raw = bytes(_decoder.decode(event.message).usage if starts else event.usage)
            said = _fields.decode(raw) if raw not in NULLS else {}
        except UNREADABLE:
            self._garbled = self._garbled or AnthropicUsageReader.needle in data
            return
        self._whole = self._whole or (bool(said) and not starts)
        self._said |= {name: bytes(value) for name, value in said.items() if bytes(value) not in NULLS}

    def reading(self) -> Reading:
        if not self._said:
            return Reading(error=self._error, garbled=self._garbled, pending=True)
        merged = b",".join(msgspec.json.encode(name) + b":" + value for name, value in self._said.items())
        found = self._sum_up(b"{%b}" % merged)
        # Before its message_delta a message has one or a few output tokens for form's sake.
        return found._replace(error=self._error, garbled=found.garbled or self._garbled, pending=not self._whole)


def _sum_up(fields: dict[str, object], written: str) -> Usage | None:
    counts = Counts(fields)
    units = _classes(counts, fields, written)
    if units is None:
        return None
    thinking = counts.of(child(fields, "output_tokens_details"), "thinking_tokens")
    iterations = [_Iteration(counts, entry, written) for entry in objects(fields, "iterations")]
    inside = sum(sum(iteration.units.values()) for iteration in iterations if iteration.kind in _INSIDE)
    counts.at_most(sum(units.values()), inside)  # the totals are what is billed; iterations of more contradict them
    served = _served_instead(counts, units, iterations)
    parts = [Part(model, dict(consumed)) for model, consumed in served.items()]
    for iteration in iterations:
        if iteration.kind == "compaction":
            for unit, count in iteration.units.items():
                units[unit] = units.get(unit, 0) + count
        elif iteration.kind not in _INSIDE:
            # An advisor, or a kind from after this was written: outside like it, and it may have cost something.
            parts.append(Part(iteration.model, {unit: count for unit, count in iteration.units.items() if count}))
            counts.inconsistent = counts.inconsistent or iteration.kind != "advisor_message"
    searches = counts.of(child(fields, "server_tool_use"), "web_search_requests")
    if searches is not None:
        units["web_searches"] = searches
    usage = usage_of(counts, units, reasoning=thinking) if not parts else _with_parts(counts, units, thinking, parts)
    usage.service_tier, usage.processing = _tier(fields)
    return usage


def _with_parts(counts: Counts, units: dict[str, int], thinking: int | None, parts: list[Part]) -> Usage:
    """Thinking may have been the other model's: it is inside the output of both."""
    if thinking is not None:
        most = units["output"] + sum(part.units.get("output", 0) for part in parts)
        thinking = min(counts.at_most(most, thinking), units["output"])
    return Usage(units, thinking, counts.inconsistent, parts=tuple(part for part in parts if part.units))


def _classes(counts: Counts, fields: dict[str, object], written: str) -> dict[str, int] | None:
    """They are apart on this wire: nothing is inside anything else. None: without input and output nothing is known."""
    given, made = counts.of(fields, "input_tokens"), counts.of(fields, "output_tokens")
    if given is None or made is None:
        return None
    units = {"input": given, "output": made}
    read = counts.of(fields, "cache_read_input_tokens")
    if read is not None:
        units["cache_read"] = read
    total = counts.of(fields, "cache_creation_input_tokens")
    split = child(fields, "cache_creation")
    left = total
    # The dearer first: where the split says more than the total, least is lost.
    for name, unit in (("ephemeral_1h_input_tokens", "cache_write_1h"), ("ephemeral_5m_input_tokens", "cache_write_5m")):
        count = counts.of(split, name)
        if count is not None:
            units[unit] = count if left is None else counts.at_most(left, count)
            left = None if left is None else left - units[unit]
    if left or (left == 0 and not split):
        units[written] = units.get(written, 0) + left
    return units


class _Iteration:
    """One entry of `iterations`: an inference of its own."""

    __slots__ = ("kind", "model", "units")

    def __init__(self, counts: Counts, entry: dict[str, object], written: str) -> None:
        kind = entry.get("type")
        self.kind = kind if isinstance(kind, str) else ""
        self.model = name_of(entry.get("model"))
        # Some kinds leave out what they have none of.
        self.units = _classes(counts, {"input_tokens": 0, "output_tokens": 0} | entry, written) or {}


def _served_instead(counts: Counts, units: dict[str, int], iterations: list[_Iteration]) -> dict[str | None, Counter[str]]:
    """What a fallback model consumed, moved out of `units`: it has another price. Its last iteration says that it served."""
    models = {iteration.model for iteration in iterations if iteration.kind == "fallback_message"}
    served: dict[str | None, Counter[str]] = {}
    for iteration in iterations:
        if iteration.kind in _INSIDE and iteration.model in models:
            taken = served.setdefault(iteration.model, Counter())
            for unit, count in iteration.units.items():
                moved = counts.at_most(units.get(unit, 0), count)
                units[unit] = units.get(unit, 0) - moved
                if moved:
                    taken[unit] += moved
    return served


def _tier(fields: dict[str, object]) -> tuple[str | None, str]:
    """The tier and the processing. Fast mode and a fixed place are dearer, each and both together."""
    tier, processing = tier_name(fields.get("service_tier")), ""
    if tier == "batch":
        tier, processing = "default", "batch"
    dearer = [] if tier in (None, "default") else [str(tier)]
    if fields.get("speed") == "fast":
        dearer.append("fast")
    place = fields.get("inference_geo")
    if isinstance(place, str) and place and place not in _ANYWHERE:
        dearer.append(tier_name(place) or "")
    return "-".join(dearer) or tier, processing
