"""Usage of Bedrock's Converse: figures by hand, from bodies in the form of botocore 1.44.8."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.usage import Usage
from tests.proxy.providers.native import body, stream

count = st.integers(0, 5000)
maybe = st.none() | count


def read(**usage: Any) -> Usage:
    found = body("converse", {"output": {"message": {}}, "usage": usage}).usage
    assert found is not None
    return found


@given(count, count, maybe, maybe, maybe)
def test_classes_are_apart_and_add_up(given: int, made: int, cached: int | None, short: int | None, long: int | None) -> None:
    details = [{"ttl": ttl, "inputTokens": n} for ttl, n in (("5m", short), ("1h", long)) if n is not None]
    written = (short or 0) + (long or 0) if details else None
    total = given + made + (cached or 0) + (written or 0)
    found = read(
        inputTokens=given, outputTokens=made, totalTokens=total, cacheReadInputTokens=cached, cacheWriteInputTokens=written,
        cacheDetails=details,
    )  # fmt: skip
    assert found.input_tokens + found.output_tokens == total
    assert found.units.get("cache_read") == cached
    assert (found.units.get("cache_write_5m"), found.units.get("cache_write_1h")) == (short, long)
    assert not found.inconsistent


CASES: list[tuple[dict[str, Any], dict[str, int], bool]] = [
    # Input excludes what was cached, the total does not.
    (
        {"inputTokens": 433, "cacheReadInputTokens": 2752, "outputTokens": 16, "totalTokens": 3201},
        {"input": 433, "cache_read": 2752, "output": 16}, False,
    ),
    (
        {"inputTokens": 1, "cacheWriteInputTokens": 100, "outputTokens": 2, "totalTokens": 103},
        {"input": 1, "cache_write_5m": 100, "output": 2}, False,
    ),
    (
        {"inputTokens": 1, "cacheWriteInputTokens": 100, "outputTokens": 2, "totalTokens": 103,
         "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "1d", "inputTokens": 9}]},
        {"input": 1, "cache_write_1h": 60, "cache_write_5m": 40, "output": 2}, False,
    ),
    # More by lifetime than in all: the dearer is kept.
    (
        {"inputTokens": 1, "cacheWriteInputTokens": 100, "outputTokens": 2, "totalTokens": 103,
         "cacheDetails": [{"ttl": "5m", "inputTokens": 80}, {"ttl": "1h", "inputTokens": 60}]},
        {"input": 1, "cache_write_1h": 60, "cache_write_5m": 40, "output": 2}, True,
    ),
    # Names are doubled, and one alone is enough.
    ({"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokenCount": 7}, {"input": 1, "cache_read": 7, "output": 2}, False),
    (
        {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokenCount": 7, "cacheReadInputTokens": 5},
        {"input": 1, "cache_read": 5, "output": 2}, True,
    ),
    ({"inputTokens": 6.0, "outputTokens": 2.0, "totalTokens": 8.0}, {"input": 6, "output": 2}, False),
    ({"inputTokens": 6, "outputTokens": 2, "totalTokens": 9}, {"input": 6, "output": 2}, True),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "units", "inconsistent"), CASES)
def test_what_its_fields_mean(usage: dict[str, Any], units: dict[str, int], inconsistent: bool) -> None:
    assert read(**usage) == Usage(units, inconsistent=inconsistent)


def test_a_stream_has_it_in_its_metadata() -> None:
    usage = {"inputTokens": 6, "outputTokens": 2, "totalTokens": 8}
    text = {"contentBlockIndex": 0, "delta": {"text": "Hi"}}
    said: list[Any] = [{"role": "assistant", "p": "abc"}, text, {"stopReason": "end_turn"}]
    metadata = {"metrics": {"latencyMs": 5}, "usage": usage, "serviceTier": {"type": "flex"}}
    found = stream("converse", *said, metadata)
    assert (found.usage, found.pending, found.error) == (Usage({"input": 6, "output": 2}, service_tier="flex"), False, False)
    cut = stream("converse", *said)
    assert (cut.usage, cut.pending, cut.error) == (None, True, False)
    # As Nova's own events have it.
    assert stream("converse", {"metadata": metadata}).usage == found.usage


def test_an_exception_in_a_stream_is_an_error() -> None:
    found = stream("converse", {"role": "assistant"}, {"message": "Too many tokens, please wait", "originalStatusCode": 429})
    assert (found.error, found.usage) == (True, None)


@pytest.mark.parametrize(("said", "tier"), [("default", "default"), ("flex", "flex"), ("reserved", "reserved"), (5, None)])
def test_the_tier_that_was_served(said: object, tier: str | None) -> None:
    usage = {"inputTokens": 6, "outputTokens": 2}
    found = body("converse", {"output": {}, "usage": usage, "serviceTier": {"type": said}}).usage
    assert found is not None
    assert found.service_tier == tier


def test_unreadable_usage_is_garbled_not_zero() -> None:
    for usage in ({}, [], 5, {"inputTokens": 3}, {"inputTokens": True, "outputTokens": 3}):
        found = body("converse", {"usage": usage})
        assert (found.usage, found.garbled) == (None, True)
