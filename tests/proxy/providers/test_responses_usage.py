"""Usage of a Responses answer: disjoint, adding up, tools beside it; never raising."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.units import UNITS
from pricing.usage import Part
from proxy.metering.reading import Reading
from proxy.providers.readers import reader_for
from proxy.providers.registry import READERS

ALL = sorted(READERS)
USAGE = {"input_tokens": 30, "output_tokens": 9, "total_tokens": 39}
count = st.integers(0, 5000)
maybe = st.one_of(st.none(), count)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.integers(-5, 50)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def read(usage: object = USAGE, reader: str = "openai", **top: object) -> Reading:
    return reader_for("responses", reader).read(
        json.dumps({"id": "resp_1", "object": "response", "status": "completed", "usage": usage, **top}).encode()
    )


def units(**top: Any) -> dict[str, int]:
    usage = read(**top).usage
    assert usage is not None
    return usage.units


@settings(max_examples=300)
@given(st.sampled_from(ALL), count, count, maybe, maybe, maybe, maybe)
def test_classes_add_up_to_the_totals(
    reader: str, given: int, made: int, cached: int | None, written: int | None, long: int | None, reasoning: int | None
) -> None:
    inside: dict[str, Any] = {"cached_tokens": cached, "cache_write_tokens": written}
    if long is not None:
        inside["cache_write_tokens_details"] = {"ttl_12h_tokens": long, "ttl_30m_tokens": (written or 0) - long}
    usage = read(
        {"input_tokens": given, "input_tokens_details": inside, "output_tokens": made,
         "output_tokens_details": {"reasoning_tokens": reasoning}, "total_tokens": given + made},
        reader,
    ).usage  # fmt: skip
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (given, made)
    assert usage.cached_tokens == min(cached or 0, given)
    assert usage.reasoning_tokens == (None if reasoning is None else min(reasoning, made))
    if (cached or 0) + (written or 0) > given or (reasoning or 0) > made:
        assert usage.inconsistent


@settings(max_examples=300)
@given(
    st.sampled_from(ALL),
    st.dictionaries(
        st.sampled_from(
            ["usage", "tool_usage", "output", "tools", "status", "error", "service_tier", "response", "type", "object"]
        ),
        st.one_of(
            junk,
            st.just([{"type": "web_search_call"}, 5, {"type": "image_generation_call", "size": 5}]),
            st.dictionaries(
                st.sampled_from(
                    ["input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details", "total_tokens",
                     "web_search", "image_gen", "num_requests", "server_side_tool_usage_details", "web_search_calls"]
                ),
                st.one_of(count, junk, st.dictionaries(st.sampled_from(["num_requests", "output_tokens"]), junk)),
            ),
        ),
    ),
)  # fmt: skip
def test_anything_is_read_or_counted_as_unreadable(reader: str, answer: dict[str, Any]) -> None:
    for surface in ("responses", "embeddings", "moderations"):
        reading = reader_for(surface, reader).read(json.dumps(answer).encode())
        if reading.usage is not None:
            assert all(type(n) is int and n >= 0 for n in reading.usage.units.values())
            assert {unit.partition("/")[0] for unit in reading.usage.units} <= UNITS.keys()


@given(st.sampled_from(["responses", "embeddings", "moderations"]), st.binary(max_size=60))
def test_any_bytes_never_raise(surface: str, data: bytes) -> None:
    reader_for(surface, "openai").read(data)


@pytest.mark.parametrize("usage", [{}, [], 5, "x", {"input_tokens": 1}, {"input_tokens": "1", "output_tokens": 1}])
def test_unreadable_is_garbled_not_zero(usage: object) -> None:
    reading = read(usage)
    assert (reading.usage, reading.garbled) == (None, True)


def test_null_usage_is_no_usage() -> None:
    assert read(None) == Reading()


def test_a_response_inside_an_event_reads_as_by_itself() -> None:
    whole = {"object": "response", "status": "completed", "usage": USAGE, "service_tier": "priority"}
    reader = reader_for("responses", "openai")
    inside = reader.read(json.dumps({"type": "response.completed", "response": whole}).encode())
    assert inside == reader.read(json.dumps(whole).encode())
    assert inside.usage is not None
    assert inside.usage.service_tier == "priority"


@pytest.mark.parametrize(
    ("served", "name"), [("default", "default"), ("auto", None), ("fast", "priority"), ("flex", "flex"), (None, None)]
)
def test_the_tier_served(served: object, name: str | None) -> None:
    usage = read(service_tier=served).usage
    assert usage is not None
    assert usage.service_tier == name


@pytest.mark.parametrize(
    ("top", "error", "pending"),
    [
        ({"status": "completed"}, False, False),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, False, False),
        ({"status": "failed"}, True, False),
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, True, False),
        ({"status": "cancelled"}, False, False),
        ({"status": "queued"}, False, True),
        ({"status": "in_progress"}, False, True),
        ({"status": ["queued"]}, False, False),
    ],
)
def test_how_a_response_stands(top: dict[str, Any], error: bool, pending: bool) -> None:
    for usage in (USAGE, None):
        reading = read(usage, **top)
        assert (reading.error, reading.pending) == (error, pending)


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":{"message":"m"}}',
        b'{"type":"error","code":"x","message":"m"}',
        b'{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota"}}',
        b'{"type":"response.failed","response":{"status":"in_progress","error":{"code":"x"}}}',
        b'{"\\u0065rror":{"message":"m"}}',
        b'{"type":"\\u0065rror"}',
        b'{"object":"error","message":"m"}',
    ],
)
def test_errors(data: bytes) -> None:
    assert reader_for("responses", "openai").read(data).error


@pytest.mark.parametrize(
    "data", [b'{"error":null}', b'{"type":"response.error","response":null}', b'{"type":"message","text":"error"}']
)
def test_no_errors(data: bytes) -> None:
    assert not reader_for("responses", "openai").read(data).error


ITEMS: list[dict[str, Any]] = [
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "a"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "open_page"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "find_in_page"}},
    {"type": "web_search_call", "status": "completed"},
    {"type": "web_search_call", "status": "failed", "action": {"type": "search"}},
    {"type": "file_search_call", "status": "completed", "queries": ["a", "b"]},
    {"type": "code_interpreter_call", "container_id": "cntr_1", "status": "completed"},
    {"type": "code_interpreter_call", "container_id": "cntr_1", "status": "failed"},
    {"type": "code_interpreter_call", "container_id": "cntr_2", "status": "incomplete"},
    {"type": "shell_call", "environment": {"type": "container_reference", "container_id": "cntr_2"}},
    {"type": "image_generation_call", "status": "completed", "size": "1024x1024", "quality": "high", "result": "x"},
    {"type": "image_generation_call", "status": "completed", "size": "1024x1024", "quality": "high", "result": "y"},
    {"type": "image_generation_call", "status": "completed", "result": "z"},
    {"type": "function_call", "name": "web_search_call"},
    {"type": "message", "content": [{"type": "output_text", "text": "web_search_call"}]},
]


def test_items_are_counted_where_the_provider_does_not_count() -> None:
    assert units(output=ITEMS) == {
        "input": 30,
        "output": 9,
        "web_searches": 2,
        "file_searches": 1,
        "code_sessions": 2,
        "images/1024x1024/high": 2,
        "images": 1,
    }
    wanted = [{"type": "image_generation", "size": "1536x1024", "quality": "low"}]
    found = units(output=ITEMS, tools=wanted)
    assert (found["images/1024x1024/high"], found["images/1536x1024/low"]) == (2, 1)
    assert "images" not in found


def test_an_unreadable_item_hides_no_other() -> None:
    assert units(output=[5, "x", None, [], *ITEMS[:1]])["web_searches"] == 1
    assert "web_searches" not in units(output={"type": "web_search_call"})


def test_the_providers_own_count_goes_before_items() -> None:
    assert units(output=ITEMS[:1], tool_usage={"web_search": {"num_requests": 3}})["web_searches"] == 3
    assert units(output=ITEMS[:1], tool_usage={"web_search": {"num_requests": 0}})["web_searches"] == 0
    assert units(output=ITEMS[:1], tool_usage={"web_search": None})["web_searches"] == 1


def test_tokens_of_the_image_model_are_apart() -> None:
    told = {
        "input_tokens": 100,
        "input_tokens_details": {"image_tokens": 60, "text_tokens": 40},
        "output_tokens": 1056,
        "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
        "total_tokens": 1156,
    }
    tools = [{"type": "web_search"}, {"type": "image_generation", "model": "gpt-image-1"}]
    reading = read(output=ITEMS[10:11], tool_usage={"image_gen": told}, tools=tools)
    assert reading.usage is not None
    # Not among the response's own tokens, which have another price; and no image is paid for by the piece as well.
    assert reading.usage.units == {"input": 30, "output": 9}
    assert reading.usage.parts == (Part("gpt-image-1", {"input": 40, "input_image": 60, "output_image": 1056}),)
    unnamed = read(tool_usage={"image_gen": told}).usage
    assert unnamed is not None
    assert unnamed.parts == (Part(None, {"input": 40, "input_image": 60, "output_image": 1056}),)
    assert not unnamed.inconsistent
    torn = read(tool_usage={"image_gen": told | {"total_tokens": 7}}).usage
    assert torn is not None
    assert torn.inconsistent
    zeros = {name: 0 if isinstance(value, int) else value for name, value in told.items()}
    assert read(tool_usage={"image_gen": zeros}).parts == ()
    assert units(output=ITEMS[10:11], tool_usage={"image_gen": zeros})["images/1024x1024/high"] == 1


def test_xai_counts_its_tools_inside_usage() -> None:
    details = {"web_search_calls": 2, "x_search_calls": 1, "code_interpreter_calls": 4, "file_search_calls": 0}
    found = units(usage=USAGE | {"server_side_tool_usage_details": details}, reader="xai", output=ITEMS[:1])
    assert {name: found.get(name) for name in ("web_searches", "code_sessions", "file_searches")} == {
        "web_searches": 3,
        "code_sessions": 4,
        "file_searches": 0,
    }


def test_xai_reasoning_is_inside_on_this_surface() -> None:
    usage = USAGE | {"output_tokens_details": {"reasoning_tokens": 5}}
    assert units(usage=usage, reader="xai")["output"] == 9


def test_cache_writes_by_their_lifetime() -> None:
    inside = {"cached_tokens": 0, "cache_write_tokens": 20, "cache_write_tokens_details": {"ttl_12h_tokens": 8}}
    found = units(usage=USAGE | {"input_tokens_details": inside})
    assert found == {"input": 10, "cache_read": 0, "cache_write_12h": 8, "cache_write_30m": 12, "output": 9}
    told = USAGE | {"input_tokens_details": {"cache_write_tokens": 20}}
    assert units(usage=told, reader="openrouter") == {"input": 10, "cache_write_5m": 20, "output": 9}


def test_perplexity_names_its_cache_and_its_tools_in_its_own_way() -> None:
    inside = {"cache_read_input_tokens": 12, "cache_creation_input_tokens": 8}
    called = {"search_web": {"invocation": 3}, "fetch_url": {"invocation": 2}}
    told = USAGE | {"input_tokens_details": inside, "tool_calls_details": called}
    assert units(usage=told, reader="perplexity") == {
        "input": 10,
        "cache_read": 12,
        "cache_write_5m": 8,
        "output": 9,
        "web_searches": 3,
    }
    assert units(usage=USAGE, reader="perplexity") == {"input": 30, "output": 9}
