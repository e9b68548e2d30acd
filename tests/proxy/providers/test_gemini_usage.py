"""Usage of Gemini's generateContent: figures by hand, from bodies in the form of google-genai 3.6.1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.native import NATIVE
from tests.proxy.providers.native import body, stream

count = st.integers(0, 5000)
maybe = st.none() | count


def read(**metadata: Any) -> Usage:
    found = body("gemini", {"usageMetadata": metadata}).usage
    assert found is not None
    return found


def kinds(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": number} for name, number in counts.items()]


@given(count, maybe, count, maybe, maybe, count, count, count, count)
def test_classes_are_disjoint_and_add_up(
    asked: int, tools: int | None, said: int, thoughts: int | None, cached: int | None, audio: int, image: int,
    cached_audio: int, said_image: int,
) -> None:  # fmt: skip
    found = read(
        promptTokenCount=asked, toolUsePromptTokenCount=tools, candidatesTokenCount=said, thoughtsTokenCount=thoughts,
        totalTokenCount=asked + (tools or 0) + said + (thoughts or 0), cachedContentTokenCount=cached,
        promptTokensDetails=kinds(AUDIO=audio, IMAGE=image), cacheTokensDetails=kinds(AUDIO=cached_audio),
        candidatesTokensDetails=kinds(IMAGE=said_image),
    )  # fmt: skip
    prompt = asked + (tools or 0)
    assert (found.input_tokens, found.output_tokens) == (prompt, said + (thoughts or 0))
    assert found.cached_tokens == min(cached or 0, prompt)
    assert found.reasoning_tokens == thoughts
    assert found.inconsistent == (audio + image > prompt or (cached or 0) > prompt or said_image > said)


CASES: list[tuple[dict[str, Any], dict[str, int], int | None, bool]] = [
    # An absent count is 0 on this wire.
    ({"promptTokenCount": 14, "totalTokenCount": 14}, {"input": 14, "output": 0}, None, False),
    # Details may sum to less: 196 of 257 are named, of the image 1,120 of 1,216.
    (
        {"promptTokenCount": 257, "candidatesTokenCount": 1216, "totalTokenCount": 1473, "promptTokensDetails": kinds(TEXT=196),
         "candidatesTokensDetails": kinds(IMAGE=1120)},
        {"input": 257, "output": 96, "output_image": 1120}, None, False,
    ),
    # Thoughts are text, and an image's answer has some.
    (
        {"promptTokenCount": 5, "candidatesTokenCount": 1290, "thoughtsTokenCount": 60, "totalTokenCount": 1355,
         "candidatesTokensDetails": kinds(IMAGE=1290)},
        {"input": 5, "output": 60, "output_image": 1290}, 60, False,
    ),
    # Sound and images have prices of their own; video and documents count as text.
    (
        {"promptTokenCount": 1000, "totalTokenCount": 1000,
         "promptTokensDetails": kinds(TEXT=100, AUDIO=200, IMAGE=258, VIDEO=442)},
        {"input": 542, "input_audio": 200, "input_image": 258, "output": 0}, None, False,
    ),
    # Of the tools' results too.
    (
        {"promptTokenCount": 10, "toolUsePromptTokenCount": 300, "totalTokenCount": 310, "promptTokensDetails": kinds(TEXT=10),
         "toolUsePromptTokensDetails": kinds(TEXT=42, IMAGE=258)},
        {"input": 52, "input_image": 258, "output": 0}, None, False,
    ),
    # The cache says which kinds it held.
    (
        {"promptTokenCount": 1000, "cachedContentTokenCount": 600, "totalTokenCount": 1000,
         "promptTokensDetails": kinds(TEXT=500, AUDIO=500), "cacheTokensDetails": kinds(TEXT=200, AUDIO=400)},
        {"input": 300, "cache_read": 200, "input_audio": 100, "cache_read_audio": 400, "output": 0}, None, False,
    ),
    # It does not: text first.
    (
        {"promptTokenCount": 1000, "cachedContentTokenCount": 600, "totalTokenCount": 1000,
         "promptTokensDetails": kinds(TEXT=500, AUDIO=500)},
        {"input": 0, "cache_read": 500, "input_audio": 400, "cache_read_audio": 100, "output": 0}, None, False,
    ),
    # The same pages: DOCUMENT in the prompt, IMAGE in the cache.
    (
        {"promptTokenCount": 1300, "cachedContentTokenCount": 1223, "totalTokenCount": 1300,
         "promptTokensDetails": kinds(TEXT=10, DOCUMENT=1290), "cacheTokensDetails": kinds(IMAGE=1223)},
        {"input": 77, "cache_read": 1223, "output": 0}, None, False,
    ),
    # Contradictions.
    ({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 9}, {"input": 5, "output": 2}, None, True),
    ({"promptTokenCount": 5, "cachedContentTokenCount": 9}, {"input": 0, "cache_read": 5, "output": 0}, None, True),
    ({"promptTokenCount": -5, "candidatesTokenCount": 2}, {"input": 0, "output": 2}, None, True),
    ({"promptTokenCount": 5, "candidatesTokenCount": True}, {"input": 5, "output": 0}, None, True),
    # The prompt's count is missing, and the total tells it.
    ({"candidatesTokenCount": 2, "totalTokenCount": 9}, {"input": 7, "output": 2}, None, False),
]  # fmt: skip


@pytest.mark.parametrize(("metadata", "units", "reasoning", "inconsistent"), CASES)
def test_what_its_fields_mean(
    metadata: dict[str, Any], units: dict[str, int], reasoning: int | None, inconsistent: bool
) -> None:
    assert read(**metadata) == Usage(units, reasoning, inconsistent)


def test_a_blocked_prompt_has_no_counts_and_so_no_usage() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"trafficType": "ON_DEMAND"}}
    assert body("gemini", blocked) == Reading()
    for metadata in (5, [], {"promptTokenCount": "5"}, {"totalTokenCount": 5}):
        found = body("gemini", {"usageMetadata": metadata})
        assert (found.usage, found.garbled) == (None, True)


def chunk(said: int, *queries: str, model: str = "gemini-3-pro-preview", end: bool = False) -> dict[str, Any]:
    candidate: dict[str, Any] = {"groundingMetadata": {"webSearchQueries": list(queries)} if queries else {}}
    if end:
        candidate["finishReason"] = "STOP"
    counts = {"promptTokenCount": 3, "candidatesTokenCount": said, "totalTokenCount": 3 + said}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": model}


def test_the_last_chunk_is_the_answers() -> None:
    found = stream("gemini", chunk(1), chunk(9), chunk(7, end=True))
    assert (found.usage, found.pending) == (Usage({"input": 3, "output": 7}), False)
    cut = stream("gemini", chunk(1), chunk(9))
    assert (cut.usage, cut.pending) == (Usage({"input": 3, "output": 9}), True)


@pytest.mark.parametrize(
    ("model", "searches"),
    [
        ("gemini-2.5-flash", 1), ("gemini-2.0-flash", 1), ("gemini-3-pro-preview", 2), ("gemini-3.8-flash", 2),
        ("gemini-4-argon", 2), ("", 2),
    ],
)  # fmt: skip
def test_searches_are_paid_by_the_query_since_gemini_3_and_before_by_the_answer(model: str, searches: int) -> None:
    """Each different one once; an empty one is free."""
    said: list[tuple[str, ...]] = [("bitcoin", ""), ("bitcoin", "ether", " ")]
    events = [*(chunk(1, *queries, model=model) for queries in said), chunk(3, model=model, end=True)]
    found = stream("gemini", *events).usage
    assert found is not None
    assert found.units["web_searches"] == searches
    assert "web_searches" not in (stream("gemini", chunk(3, "", model=model)).usage or found).units
    # One body with several answers is still one request.
    both = {**chunk(3, model=model), "candidates": [event["candidates"][0] for event in events]}
    whole = body("gemini", both).usage
    assert whole is not None
    assert whole.units["web_searches"] == searches


def test_a_stream_that_came_as_an_array() -> None:
    data = json.dumps([chunk(1, "a"), chunk(9, "b", end=True)], indent=1).encode()
    assert NATIVE["gemini"].read(b"\n" + data).usage == Usage({"input": 3, "output": 9, "web_searches": 2})
    assert NATIVE["gemini"].read(b'[{"error":{"code":429,"message":"m"}}]') == Reading(error=True)


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({"serviceTier": "standard"}, "default"),
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "PRIORITY"}, "priority"),
        ({"serviceTier": "unspecified"}, None),
        ({"trafficType": "ON_DEMAND"}, "default"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND_OFFPEAK"}, "offpeak"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED", "serviceTier": "flex"}, "flex"),
        ({}, None),
    ],
)
def test_the_tier_that_was_served(said: dict[str, Any], tier: str | None) -> None:
    assert read(promptTokenCount=1, **said).service_tier == tier
