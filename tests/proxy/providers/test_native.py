"""What must hold for every wire that is not OpenAI's; and its recordings, with figures read off their bytes by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.units import UNITS
from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.native import NATIVE
from tests.proxy.providers.native import read
from tests.wire.recordings import Recording, params


def messages(given: int, made: int, **more: int) -> dict[str, int]:
    """Of Anthropic, where it says that nothing was read from or written to a cache."""
    return {"input": given, "cache_read": 0, "cache_write_5m": 0, "cache_write_1h": 0, "output": made, **more}


# Recording → wire, units, reasoning, tier.
SAID: dict[str, tuple[str, dict[str, int], int | None, str | None]] = {
    "35-0": ("anthropic", messages(416, 109), None, "default"),
    "35-1": ("anthropic", messages(602, 52), None, "default"),
    "36-0": ("anthropic", messages(598, 92), 53, "default"),
    "36-1": ("anthropic", messages(707, 89), 0, "default"),
    "37-0": ("anthropic", messages(92, 254), None, "default"),
    "37-1": ("anthropic", messages(92, 255), None, "default"),
    "37-2": ("anthropic", messages(179, 224), None, "default"),
    # Written without saying for how long: 5 minutes; the second of the two reads what the first wrote.
    "38-0": ("anthropic", {"input": 4, "cache_read": 0, "cache_write_5m": 1165, "output": 201}, None, None),
    "38-1": ("anthropic", {"input": 4, "cache_read": 1165, "cache_write_5m": 0, "output": 221}, None, None),
    # message_start says 43.
    "39-0": ("anthropic", {"input": 61, "output": 2}, None, None),
    # One search each. In the stream message_start says 2,228 and no search.
    "40-0": ("anthropic", messages(32756, 593, web_searches=1), None, "default"),
    "40-1": ("anthropic", messages(32749, 563, web_searches=1), None, "default"),
    "40-2": ("anthropic", messages(44471, 630, web_searches=1), None, "default"),
    # 70 + 40 + 61 thoughts = 171.
    "41-0": ("gemini", {"input": 70, "output": 101}, 61, None),
    "41-1": ("gemini", {"input": 211, "output": 30}, None, None),
    # 32 + 253 of tools, 49 + 430 thoughts = 764; Gemini 2.5: one search.
    "42-0": ("gemini", {"input": 285, "output": 479, "web_searches": 1}, 430, None),
    # 73 + 129 of tools, 237 + 33 thoughts = 472, after 25, 41, 90, … candidates on earlier chunks.
    "42-1": ("gemini", {"input": 202, "output": 270, "web_searches": 1}, 33, None),
    # Stopped for safety before it said anything.
    "43-0": ("gemini", {"input": 14, "output": 0}, None, None),
    # 5 + 1 + 100 thoughts = 106, ON_DEMAND_FLEX.
    "44-0": ("gemini", {"input": 5, "output": 101}, 100, "flex"),
    "45-0": ("converse", {"input": 446, "output": 55}, None, None),
    "45-1": ("converse", {"input": 512, "cache_read": 0, "output": 25}, None, None),
    # 968 and 83 tokens, 62 and 28 billed.
    "48-0": ("cohere", {"input": 62, "output": 28}, None, None),
}
ERRORS = {"22-0": "gemini", "24-0": "anthropic", "25-0": "gemini", "26-0": "gemini", "26-1": "gemini", "47-0": "converse"}


@pytest.mark.parametrize("recording", params(35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 48))
def test_recordings(recording: Recording) -> None:
    wire, units, reasoning, tier = SAID[recording.name]
    for cut in (None, 1, 333):
        found = read(wire, recording, cut=cut)
        assert found.usage == Usage(units, reasoning, service_tier=tier)
        assert (found.error, found.garbled, found.pending) == (False, False, False)


@pytest.mark.parametrize("recording", params(22, 24, 25, 26, 47))
def test_recorded_errors(recording: Recording) -> None:
    assert NATIVE[ERRORS[recording.name]].read(recording.body) == Reading(error=True)


@pytest.mark.parametrize("recording", params(35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 48))
def test_what_is_kept_of_a_recording_reads_the_same_again(recording: Recording) -> None:
    wire = SAID[recording.name][0]
    found = read(wire, recording)
    assert found.usage is not None
    assert found.raw_usage is not None
    again = NATIVE[wire].read(b'{"usage":%b}' % found.raw_usage.encode()).usage
    assert again is not None
    # Beside the usage stood what a row has in its lines and in its tier.
    assert {unit: n for unit, n in found.usage.units.items() if wire != "gemini" or unit != "web_searches"} == again.units
    assert again.reasoning_tokens == found.usage.reasoning_tokens


@pytest.mark.parametrize("recording", params(35, 36, 38, 39, 41, 42, 45, 48))
def test_a_stream_that_is_cut_anywhere_never_raises_and_never_invents(recording: Recording) -> None:
    wire, units, _, _ = SAID[recording.name]
    if recording.body[:1] in (b"\0", b"{"):
        return
    for end in range(1, len(recording.body), 97):
        found = read(wire, replace(recording, body=recording.body[:end]))
        if found.usage is not None:
            assert found.usage.output_tokens <= units["output"]
            assert not found.usage.inconsistent


# -- Whatever comes ---------------------------------------------------------------------------------------------------

count = st.integers(0, 5000)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.integers(-5, 50), count),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["usage", "usageMetadata", "message", "metadata", "delta", "meta", "error", "type", "candidates", "modelVersion",
     "serviceTier", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
     "cache_creation", "iterations", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "server_tool_use",
     "web_search_requests", "model", "speed", "inference_geo", "service_tier", "output_tokens_details",
     "thinking_tokens", "promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount",
     "totalTokenCount", "cachedContentTokenCount", "promptTokensDetails", "candidatesTokensDetails",
     "cacheTokensDetails", "modality", "tokenCount", "trafficType", "groundingMetadata", "finishReason",
     "webSearchQueries", "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens",
     "ttl", "cacheWriteInputTokenCount", "cacheDetails", "billed_units", "search_units", "pages", "prompt_eval_count",
     "eval_count"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["message", "compaction", "advisor_message", "fallback_message", "AUDIO", "IMAGE", "TEXT", "5m", "1h", "fast", "us",
     "batch", "gemini-3-pro", "error", "standard", "ON_DEMAND_FLEX", "m"]
)  # fmt: skip
nested = st.recursive(
    st.one_of(count, count, WORDS, junk),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=6)),
    max_leaves=25,
)
answers = st.dictionaries(NAMES, nested, max_size=6)


def check(found: Reading) -> None:
    usage = found.usage
    if usage is None:
        return
    for units in (usage.units, *(part.units for part in usage.parts)):
        assert units.keys() <= UNITS.keys()
        assert all(type(n) is int and n >= 0 for n in units.values())
    assert all(part.units and (part.model is None or len(part.model) <= 256) for part in usage.parts)
    assert usage.reasoning_tokens is None or 0 <= usage.reasoning_tokens <= usage.output_tokens
    assert found.raw_usage is not None


@settings(max_examples=600)
@given(st.sampled_from(sorted(NATIVE)), st.lists(answers, min_size=1, max_size=3))
def test_anything_is_sane(wire: str, events: list[dict[str, Any]]) -> None:
    reads = NATIVE[wire].stream()
    for event in events:
        data = json.dumps(event).encode()
        check(NATIVE[wire].read(data))
        reads.feed(data)
    check(reads.reading())


@settings(max_examples=300)
@given(st.sampled_from(sorted(NATIVE)), st.binary(max_size=60) | nested.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_never_raise(wire: str, data: bytes) -> None:
    NATIVE[wire].read(data)
    reads = NATIVE[wire].stream()
    reads.feed(data)
    reads.reading()


@pytest.mark.parametrize("wire", sorted(NATIVE))
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[", b"[" * 5000, b"null", b"5", b'"x"', b"\xff", b"[DONE]", b'{"usage":{"a":' + b"9" * 400 + b"}}"]
)
def test_rubbish_is_no_usage(wire: str, data: bytes) -> None:
    assert NATIVE[wire].read(data).usage is None
    reads = NATIVE[wire].stream()
    reads.feed(data)
    assert reads.reading().usage is None


@pytest.mark.parametrize("wire", sorted(NATIVE))
def test_an_error_is_an_error_in_each_of_its_forms(wire: str) -> None:
    reader = NATIVE[wire]
    for said in (b'{"error":{"message":"m"}}', b'{"error":{"message":"m"},"error":null}'):
        assert reader.read(said).error
        reads = reader.stream()
        reads.feed(said)
        assert reads.reading().error
    assert not reader.read(b'{"error":null}').error


@pytest.mark.parametrize("wire", sorted(NATIVE))
def test_nothing_said_is_not_the_end(wire: str) -> None:
    assert NATIVE[wire].stream().reading() == Reading(pending=True)

