"""Usage of Cohere's own API: figures by hand, from bodies in the form of cohere 7.3."""

from __future__ import annotations

from typing import Any

import pytest

from pricing.usage import Usage
from proxy.metering.reading import Reading
from tests.proxy.providers.native import body, stream


@pytest.mark.parametrize(
    ("answer", "units"),
    [
        # Chat: what is billed, not what was counted, and no cached ones, which are of the latter.
        (
            {"usage": {"billed_units": {"input_tokens": 2406, "output_tokens": 9}, "tokens": {"input_tokens": 2950},
                       "cached_tokens": 2928}},
            {"input": 2406, "output": 9},
        ),
        # The end of a stream of v1.
        (
            {"event_type": "stream-end", "response": {"text": "Hi", "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 4}}}},
            {"input": 3, "output": 4},
        ),
        # Embed and rerank.
        ({"meta": {"billed_units": {"input_tokens": 5.0, "image_tokens": 400}}}, {"input": 5, "input_image": 400}),
        ({"results": [], "meta": {"billed_units": {"search_units": 2}}}, {"rerank_searches": 2}),
    ],
)  # fmt: skip
def test_what_is_billed(answer: dict[str, Any], units: dict[str, int]) -> None:
    assert body("cohere", answer).usage == Usage(units)


def test_a_stream_has_it_at_its_end() -> None:
    content = {"message": {"content": {"text": "H"}}}
    said = [{"type": "message-start", "delta": {"message": {}}}, {"type": "content-delta", "delta": content}]
    usage = {"billed_units": {"input_tokens": 6, "output_tokens": 2}}
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}
    found = stream("cohere", *said, end, b"[DONE]")
    assert (found.usage, found.pending, found.garbled) == (Usage({"input": 6, "output": 2}), False, False)
    assert stream("cohere", *said) == Reading(pending=True)
    broke = stream("cohere", *said, {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "internal"}})
    assert (broke.error, broke.usage) == (True, None)


def test_unreadable_usage_is_garbled_not_zero() -> None:
    for billed in ({}, [], {"input_tokens": "5"}):
        found = body("cohere", {"usage": {"billed_units": billed}})
        assert (found.usage, found.garbled) == (None, True)
    assert body("cohere", {"meta": {"api_version": {"version": "2"}}}) == Reading()
