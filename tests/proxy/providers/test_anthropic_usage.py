"""Usage of Anthropic's Messages API: figures by hand, from bodies in the form of anthropic 2.13."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.usage import Part, Usage
from proxy.providers.anthropic_usage import AnthropicUsageReader
from tests.proxy.providers.native import body, stream

PLAIN = {"input_tokens": 10, "output_tokens": 20}
START = {"type": "message_start", "message": {"id": "msg_1", "usage": {**PLAIN, "output_tokens": 1}}}
count = st.integers(0, 5000)
maybe = st.none() | count


def read(**usage: Any) -> Usage:
    found = body("anthropic", {"type": "message", "usage": {**PLAIN, **usage}}).usage
    assert found is not None
    return found


def delta(**usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


@given(count, count, maybe, maybe, maybe)
def test_classes_are_apart_and_add_up(given: int, made: int, read_: int | None, short: int | None, long: int | None) -> None:
    written = None if short is None and long is None else (short or 0) + (long or 0)
    found = read(
        input_tokens=given, output_tokens=made, cache_read_input_tokens=read_, cache_creation_input_tokens=written,
        cache_creation={"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
    )  # fmt: skip
    assert (found.units.get("cache_read"), found.units["input"], found.units["output"]) == (read_, given, made)
    assert (found.units.get("cache_write_5m"), found.units.get("cache_write_1h")) == (short, long)
    assert (found.input_tokens, found.output_tokens) == (given + (read_ or 0) + (written or 0), made)
    assert not found.inconsistent


def test_what_the_split_leaves_was_written_for_the_requests_ttl() -> None:
    usage = {"cache_creation_input_tokens": 100, "cache_creation": {"ephemeral_1h_input_tokens": 30}}
    assert read(**usage).units == {"input": 10, "output": 20, "cache_write_1h": 30, "cache_write_5m": 70}
    hour = AnthropicUsageReader(written="cache_write_1h")
    found = hour.read(b'{"usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":100}}').usage
    assert found == Usage({"input": 1, "output": 2, "cache_write_1h": 100})


def test_a_split_of_more_than_all_is_clamped_to_all_and_flagged() -> None:
    found = read(
        cache_creation_input_tokens=50, cache_creation={"ephemeral_1h_input_tokens": 40, "ephemeral_5m_input_tokens": 40}
    )
    assert (found.units["cache_write_1h"], found.units["cache_write_5m"], found.inconsistent) == (40, 10, True)


def test_a_delta_replaces_what_the_start_said_and_keeps_what_it_does_not_name() -> None:
    start = {
        **PLAIN, "output_tokens": 3, "cache_read_input_tokens": 55_096, "cache_creation_input_tokens": 900,
        "cache_creation": {"ephemeral_1h_input_tokens": 900, "ephemeral_5m_input_tokens": 0}, "service_tier": "priority",
    }  # fmt: skip
    found = stream(
        "anthropic", {"type": "message_start", "message": {"usage": start}}, {"type": "ping"},
        delta(output_tokens=7, cache_read_input_tokens=None), delta(output_tokens=5, cache_read_input_tokens=0),
        {"type": "message_stop"},
    )  # fmt: skip
    # Smaller than before, and no contradiction: the last word is the provider's bill.
    assert found.usage == Usage(
        {"input": 10, "cache_read": 0, "cache_write_1h": 900, "cache_write_5m": 0, "output": 5}, service_tier="priority"
    )
    assert not found.pending


def test_a_stream_without_its_delta_has_not_ended() -> None:
    found = stream("anthropic", START)
    assert (found.usage, found.pending) == (Usage({"input": 10, "output": 1}), True)
    assert stream("anthropic", {"type": "ping"}).usage is None


def test_an_error_in_a_stream_leaves_what_was_said() -> None:
    found = stream("anthropic", START, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (found.error, found.pending) == (True, True)
    assert found.usage == Usage({"input": 10, "output": 1})


def test_unreadable_usage_is_garbled_not_zero() -> None:
    for usage in ({}, [], 5, {"input_tokens": 3}, {"input_tokens": True, "output_tokens": 3}, {"output_tokens": 3}):
        found = body("anthropic", {"usage": usage})
        assert (found.usage, found.garbled) == (None, True)
    assert stream("anthropic", START, b'{"type":"message_delta","usage":{"output_tokens":').garbled


ADVISED = {
    "input_tokens": 412, "output_tokens": 531,
    "iterations": [
        {"type": "message", "input_tokens": 200, "output_tokens": 100},
        {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 823, "output_tokens": 1612,
         "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 7}},
        {"type": "message", "input_tokens": 212, "output_tokens": 431},
    ],
}  # fmt: skip


def test_an_advisor_is_a_part_at_its_own_models_price() -> None:
    found = read(**ADVISED)
    assert found.units == {"input": 412, "output": 531}
    assert found.parts == (
        Part("claude-opus-5-5", {"input": 823, "output": 1612, "cache_read": 5, "cache_write_1h": 7}),
    )  # fmt: skip
    assert not found.inconsistent


def test_a_stream_reports_its_iterations_at_the_end() -> None:
    found = stream("anthropic", START, delta(**ADVISED)).usage
    assert found is not None
    assert (found.units, len(found.parts)) == ({"input": 412, "output": 531}, 1)


def test_compaction_is_not_in_the_totals_and_is_added() -> None:
    found = read(
        input_tokens=23_000, output_tokens=1000,
        iterations=[
            {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500, "cache_read_input_tokens": 0},
            {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
        ],
    )  # fmt: skip
    assert found == Usage({"input": 203_000, "output": 4500, "cache_read": 0})


def test_a_fallback_that_served_is_moved_to_its_own_price() -> None:
    found = read(
        input_tokens=300, output_tokens=50,
        iterations=[
            {"type": "message", "model": "claude-fable-5-1", "input_tokens": 100, "output_tokens": 2},
            {"type": "fallback_message", "model": "claude-opus-5-5", "input_tokens": 200, "output_tokens": 48},
        ],
    )  # fmt: skip
    assert found == Usage({"input": 100, "output": 2}, parts=(Part("claude-opus-5-5", {"input": 200, "output": 48}),))


def test_a_fallback_that_is_not_in_the_totals_is_clamped_and_flagged() -> None:
    found = read(iterations=[{"type": "fallback_message", "model": "m", "input_tokens": 15, "output_tokens": 20}])
    assert found.units == {"input": 0, "output": 0}
    assert (found.parts, found.inconsistent) == ((Part("m", {"input": 10, "output": 20}),), True)


def test_iterations_of_more_than_the_totals_are_flagged_and_the_totals_stand() -> None:
    found = read(iterations=[{"type": "message", "input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 1}])
    assert found == Usage({"input": 10, "output": 20}, inconsistent=True)
    assert not read(iterations=[{"type": "message", "input_tokens": 10, "output_tokens": 20}]).inconsistent


def test_an_iteration_of_a_new_kind_is_not_lost() -> None:
    found = read(iterations=[{"type": "reviewer_message", "input_tokens": 4, "output_tokens": 2}])
    assert (found.parts, found.inconsistent) == ((Part(None, {"input": 4, "output": 2}),), True)


def test_thinking_is_inside_output() -> None:
    assert read(output_tokens_details={"thinking_tokens": 12}).reasoning_tokens == 12
    more = read(output_tokens_details={"thinking_tokens": 21})
    assert (more.reasoning_tokens, more.inconsistent) == (20, True)


def test_searches_are_the_providers_count() -> None:
    assert read(server_tool_use={"web_search_requests": 3, "web_fetch_requests": 2}).units["web_searches"] == 3
    assert read(server_tool_use={"web_search_requests": 0}).units["web_searches"] == 0
    assert "web_searches" not in read(server_tool_use=None).units


@pytest.mark.parametrize(
    ("said", "tier", "processing"),
    [
        ({}, None, ""),
        ({"service_tier": "standard"}, "default", ""),
        ({"service_tier": "priority"}, "priority", ""),
        ({"service_tier": "batch"}, "default", "batch"),
        ({"service_tier": "standard", "speed": "standard"}, "default", ""),
        ({"service_tier": "standard", "speed": "fast"}, "fast", ""),
        ({"speed": "fast"}, "fast", ""),
        ({"service_tier": "standard", "inference_geo": "global"}, "default", ""),
        ({"service_tier": "standard", "inference_geo": "not_available"}, "default", ""),
        ({"service_tier": "standard", "inference_geo": "us"}, "us", ""),
        ({"speed": "fast", "inference_geo": "us"}, "fast-us", ""),
        ({"service_tier": "batch", "inference_geo": "us"}, "us", "batch"),
        ({"service_tier": 5, "speed": 5, "inference_geo": 5}, None, ""),
    ],
)
def test_the_tier_that_was_served(said: dict[str, Any], tier: str | None, processing: str) -> None:
    found = read(**said)
    assert (found.service_tier, found.processing) == (tier, processing)
