"""Reads usage from answers of Bedrock's Converse, whole and streamed (of a stream: the payloads of its frames).

| field of `usage` | what it is here |
|---|---|
| inputTokens | input: neither read from nor written to a cache |
| cacheReadInputTokens | cache_read |
| cacheDetails[].inputTokens by `ttl` | cache_write_5m, cache_write_1h |
| cacheWriteInputTokens | all that was written; what the details leave of it lives 5 minutes |
| outputTokens | output, reasoning inside |
| totalTokens | the sum of all four: 433 + 2,752 + 16 = 3,201 |
| serviceTier.type, beside `usage` | the tier that was served |

Source: botocore 1.44.8, data/bedrock-runtime/2023-09-30/service-2.json: TokenUsage, CacheDetail, ServiceTier. Some names are
doubled (cacheReadInputTokenCount, recording 45), counts may be written 6.0 (46). In a stream the frame `metadata` has it.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading, UsageStream
from proxy.providers.answer_parts import (
    ABSENT,
    NULLS,
    UNREADABLE,
    as_text,
    hides_error,
    object_in,
    says_error,
    tier_name,
)
from proxy.providers.counts import Counts, objects, usage_of
from proxy.providers.last_usage import LastUsage

_LIFETIMES = {"5m": "cache_write_5m", "1h": "cache_write_1h"}


class _Answer(msgspec.Struct, rename="camel"):
    usage: Raw = ABSENT
    service_tier: Raw = ABSENT
    metadata: Raw = ABSENT  # of models whose own events have Converse's names (Nova by InvokeModel)
    output: Raw = ABSENT
    message: Raw = ABSENT
    error: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class ConverseUsageReader:
    """Stateless."""

    needle = b'"outputTokens"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
            if bytes(answer.metadata) not in NULLS:
                answer = _decoder.decode(answer.metadata)
        except UNREADABLE:
            return Reading(garbled=True)
        raw = bytes(answer.usage)
        # An error, and an exception's frame, is a message and nothing else (recording 47).
        is_message = bytes(answer.message)[:1] == b'"' and raw in NULLS and answer.output is ABSENT
        error = is_message or says_error(answer.error)
        if raw in NULLS:
            return Reading(error=error or hides_error(data))
        fields = object_in(raw)
        usage = None if fields is None else _sum_up(fields)
        if usage is not None:
            usage.service_tier = tier_name((object_in(answer.service_tier) or {}).get("type"))
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)

    def stream(self) -> UsageStream:
        return LastUsage(self)


def _sum_up(fields: dict[str, object]) -> Usage | None:
    counts = Counts(fields)
    given, made = counts.get("inputTokens"), counts.get("outputTokens")
    if given is None or made is None:
        return None
    units = {"input": given, "output": made}
    read, written = _either(counts, "cacheRead"), _either(counts, "cacheWrite")
    if read is not None:
        units["cache_read"] = read
    details = [(entry.get("ttl"), counts.of(entry, "inputTokens")) for entry in objects(fields, "cacheDetails")]
    left = written
    # The longest first, as they come: where they say more than the total, least is lost.
    for lifetime, count in sorted(details, key=lambda entry: entry[0] != "1h"):
        unit = _LIFETIMES.get(lifetime) if isinstance(lifetime, str) else None
        if unit is None or count is None:
            continue
        taken = count if left is None else counts.at_most(left, count)
        units[unit] = units.get(unit, 0) + taken
        left = None if left is None else left - taken
    if left or (left == 0 and not details):
        units["cache_write_5m"] = units.get("cache_write_5m", 0) + left
    counts.must_equal(counts.get("totalTokens"), sum(units.values()))
    return usage_of(counts, units, reasoning=None)


def _either(counts: Counts, what: str) -> int | None:
    """By the documented name, or by the one beside it."""
    named, beside = counts.get(f"{what}InputTokens"), counts.get(f"{what}InputTokenCount")
    if named is not None:
        counts.must_equal(beside, named)
    return beside if named is None else named
