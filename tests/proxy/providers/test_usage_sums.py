"""Usage arithmetic: disjoint, adding up to the provider's totals, never raising."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.units import UNITS
from pricing.usage import Usage
from proxy.providers.counts import MAX_COUNT
from proxy.providers.registry import READERS

ALL = sorted(READERS)
count = st.integers(0, 5000)
maybe = st.one_of(st.none(), count)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.integers(-5, 50)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
names = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "audio_tokens",
        "image_tokens",
        "reasoning_tokens",
        "cache_write_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "num_cached_tokens",
        "prompt_audio_seconds",
        "service_tier",
        "server_tool_use",
        "web_search_requests",
    ]
)
details = st.dictionaries(names, st.one_of(count, junk), max_size=6)
usages = st.dictionaries(names, st.one_of(count, details, junk), max_size=8)


def read(reader: str, usage: object, **top: object) -> Usage | None:
    return READERS[reader].read(json.dumps({"choices": [{}], "usage": usage, **top}).encode()).usage


@settings(max_examples=500)
@given(st.sampled_from(ALL), usages)
def test_any_usage_object_never_raises_and_is_sane(reader: str, usage: dict[str, Any]) -> None:
    reading = READERS[reader].read(json.dumps({"usage": usage}).encode())
    assert reading.garbled == (reading.usage is None)  # there was one: it is read or counted as unreadable
    if reading.usage is not None:
        assert all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in reading.usage.units.values())
        assert {"input", "output"} <= reading.usage.units.keys() <= UNITS.keys()
        assert (
            reading.usage.reasoning_tokens is None or 0 <= reading.usage.reasoning_tokens <= reading.usage.output_tokens
        )


@given(
    st.sampled_from(ALL),
    st.one_of(
        st.binary(max_size=60),
        junk.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(st.sampled_from(["usage", "x_groq", "choices", "error", "service_tier", "model"]), junk).map(
            lambda value: json.dumps(value).encode()
        ),
    ),
)
def test_any_bytes_never_raise(reader: str, data: bytes) -> None:
    READERS[reader].read(data)


@settings(max_examples=300)
@given(
    st.sampled_from(
        ["openai", "azure", "groq", "openrouter", "together", "deepseek", "xai", "gemini_openai", "mistral"]
    ),
    count,
    count,
    maybe,
    maybe,
    maybe,
    maybe,
    maybe,
)
def test_classes_add_up_to_the_totals(
    reader: str,
    prompt: int,
    completion: int,
    cached: int | None,
    written: int | None,
    audio: int | None,
    image: int | None,
    reasoning: int | None,
) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            "audio_tokens": audio,
            "image_tokens": image,
        },
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio, "image_tokens": image},
    }
    found = read(reader, usage)
    assert found is not None
    outside = (audio or 0) if reader == "mistral" else 0
    assert found.input_tokens == prompt + outside
    assert found.output_tokens == completion + ((reasoning or 0) if reader == "xai" else 0)
    if (cached or 0) > prompt:
        assert found.inconsistent
    if cached is not None and cached <= prompt:
        assert found.cached_tokens == cached


@given(count, count, maybe, maybe)
def test_zero_and_missing_differ(prompt: int, completion: int, cached: int | None, audio: int | None) -> None:
    inner = {name: value for name, value in (("cached_tokens", cached), ("audio_tokens", audio)) if value is not None}
    found = read("openai", {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": inner})
    assert found is not None
    assert ("cache_read" in found.units) == (cached is not None)
    assert ("input_audio" in found.units) == (audio is not None)


CASES: list[tuple[str, dict[str, Any], dict[str, int], int | None, bool]] = [
    # xAI chat: completion excludes reasoning, 204 + 1 + 82 = 287.
    (
        "xai",
        {
            "prompt_tokens": 204,
            "completion_tokens": 1,
            "total_tokens": 287,
            "completion_tokens_details": {"reasoning_tokens": 82},
        },
        {"input": 204, "output": 83},
        82,
        False,
    ),
    (
        "xai",
        {
            "prompt_tokens": 10,
            "completion_tokens": 9,
            "total_tokens": 19,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        {"input": 10, "output": 9},
        4,
        False,
    ),
    # Gemini /openai hides thoughts: 35 + 12, total 109.
    (
        "gemini_openai",
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        {"input": 35, "output": 74},
        62,
        False,
    ),
    (
        "gemini_openai",
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 40},
        {"input": 35, "output": 12},
        None,
        True,
    ),
    # Mistral: audio outside the prompt, 9 + 375 + 248 = 632.
    (
        "mistral",
        {"prompt_tokens": 9, "completion_tokens": 248, "total_tokens": 632, "prompt_audio_seconds": 30},
        {"input": 9, "input_audio": 375, "audio_ms": 30000, "output": 248},
        None,
        False,
    ),
    (
        "mistral",
        {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "total_tokens": 11,
            "num_cached_tokens": 4,
            "prompt_audio_seconds": {},
        },
        {"input": 5, "cache_read": 4, "output": 2},
        None,
        False,
    ),
    # Together: cached at the top level.
    (
        "together",
        {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22, "cached_tokens": 16},
        {"input": 4, "cache_read": 16, "output": 2},
        None,
        False,
    ),
    # DeepSeek: its own names.
    (
        "deepseek",
        {
            "prompt_tokens": 17,
            "completion_tokens": 2,
            "total_tokens": 19,
            "prompt_cache_hit_tokens": 10,
            "prompt_cache_miss_tokens": 7,
        },
        {"input": 7, "cache_read": 10, "output": 2},
        None,
        False,
    ),
    (
        "deepseek",
        {"prompt_tokens": 17, "completion_tokens": 2, "prompt_cache_hit_tokens": 10, "prompt_cache_miss_tokens": 9},
        {"input": 7, "cache_read": 10, "output": 2},
        None,
        True,
    ),
    # Azure Foundry Grok: cached 163 of prompt 7.
    (
        "azure",
        {
            "prompt_tokens": 7,
            "completion_tokens": 1,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 163},
        },
        {"input": 0, "cache_read": 7, "output": 1},
        None,
        True,
    ),
    (
        "azure",
        {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8, "latency_checkpoint": {"a": 1}},
        {"input": 7, "output": 1},
        None,
        False,
    ),
    (
        "openai",
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 50},
        },
        {"input": 10, "cache_read": 40, "cache_write_30m": 50, "output": 5},
        None,
        False,
    ),
    (
        "openai",
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {
                "cache_write_tokens": 50,
                "cache_write_tokens_details": {"ttl_12h_tokens": 20, "ttl_30m_tokens": 30},
            },
        },
        {"input": 50, "cache_write_12h": 20, "cache_write_30m": 30, "output": 5},
        None,
        False,
    ),
    (
        "openrouter",
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cache_write_tokens": 50},
            "server_tool_use_details": {"web_search_requests": 2},
        },
        {"input": 50, "cache_write_5m": 50, "output": 5, "web_searches": 2},
        None,
        False,
    ),
    # Cached and media overlap: text is taken as cached first.
    (
        "openai",
        {
            "prompt_tokens": 100,
            "completion_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 50, "audio_tokens": 80},
        },
        {"input": 0, "cache_read": 20, "cache_read_audio": 30, "input_audio": 50, "output": 0},
        None,
        False,
    ),
    ("openai", {"prompt_tokens": 5, "total_tokens": 9}, {"input": 5, "output": 4}, None, False),
    ("openai", {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 9}, {"input": 5, "output": 3}, None, True),
    ("openai", {"prompt_tokens": -5, "completion_tokens": 3}, {"input": 0, "output": 3}, None, True),
    # A boolean is no count, and what the total tells is not certain.
    ("openai", {"prompt_tokens": True, "completion_tokens": 3, "total_tokens": 9}, {"input": 6, "output": 3}, None, True),
    (
        "openai",
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": True}},
        {"input": 5, "output": 3},
        None,
        True,
    ),
    # Perplexity: reasoning and the tokens of cited sources are outside.
    (
        "perplexity",
        {
            "prompt_tokens": 33,
            "completion_tokens": 7163,
            "total_tokens": 7196,
            "citation_tokens": 20016,
            "num_search_queries": 18,
            "reasoning_tokens": 73997,
        },
        {"input": 33, "output": 101176, "web_searches": 18},
        73997,
        False,
    ),
    (
        "perplexity",
        {
            "prompt_tokens": 8,
            "completion_tokens": 40,
            "total_tokens": 48,
            "search_context_size": "low",
            "num_search_queries": 2,
            "cost": {"input_tokens_cost": 8e-06, "output_tokens_cost": 4e-05, "request_cost": 0.005, "total_cost": 0.005048},
        },
        {"input": 8, "output": 40},
        None,
        False,
    ),
    (
        "perplexity",
        {"prompt_tokens": 1, "completion_tokens": 2, "reasoning_tokens": 4, "total_tokens": 7},
        {"input": 1, "output": 6},
        4,
        False,
    ),
    ("perplexity", {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, {"input": 1, "output": 2}, None, True),
    ("openai", {"prompt_tokens": 5.0, "completion_tokens": 3}, {"input": 5, "output": 3}, None, False),
]


@pytest.mark.parametrize(("reader", "usage", "units", "reasoning", "inconsistent"), CASES)
def test_each_providers_sums(
    reader: str, usage: dict[str, Any], units: dict[str, int], reasoning: int | None, inconsistent: bool
) -> None:
    found = read(reader, usage)
    assert found is not None
    assert (found.units, found.reasoning_tokens, found.inconsistent) == (units, reasoning, inconsistent)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        [],
        5,
        "x",
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": MAX_COUNT + 1, "completion_tokens": 1},
    ],
)
def test_unreadable_is_garbled_not_zero(usage: object) -> None:
    reading = READERS["openai"].read(json.dumps({"usage": usage}).encode())
    assert (reading.usage, reading.garbled) == (None, True)


def test_groq_usage_or_x_groq_never_both() -> None:
    inner = {"id": "req", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
    both = {"choices": [{}], "x_groq": inner, "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}
    assert READERS["groq"].read(json.dumps({"choices": [{}], "x_groq": inner}).encode()).usage == Usage(
        {"input": 3, "output": 4}
    )
    assert READERS["groq"].read(json.dumps(both).encode()).usage == Usage({"input": 3, "output": 5})
    assert READERS["groq"].read(b'{"choices":[{}],"x_groq":{"id":"req"}}').usage is None


@pytest.mark.parametrize(
    ("served", "name"),
    [
        ("default", "default"),
        ("standard", "default"),
        ("on_demand", "default"),
        ("fast", "priority"),
        ("priority", "priority"),
        ("FLEX", "flex"),
        ("auto", None),
        ("", None),
        (None, None),
        (5, None),
        ("a\0b c", "a?b?c"),
    ],
)
def test_the_tier_served(served: object, name: str | None) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    found = read("openai", usage, service_tier=served)
    assert found is not None
    assert found.service_tier == name
    inside = read("mistral", usage | {"service_tier": served})
    assert inside is not None
    assert inside.service_tier == name


def test_null_usage_is_no_usage() -> None:
    reading = READERS["openai"].read(b'{"choices":[ ],"usage":null}')
    assert (reading.usage, reading.garbled, reading.bare) == (None, False, True)
