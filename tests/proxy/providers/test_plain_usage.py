"""The short way reads what the sums read, or nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.plain_usage import plain_usage
from proxy.providers.usage_sums import openai

counts = st.integers(-2, 50)
field = st.one_of(counts, st.none(), st.booleans(), st.just(1.0), st.just("1"), st.integers(2**39, 2**41))
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens", "accepted_prediction_tokens"]), field
)


@st.composite
def usage_objects(draw: st.DrawFn) -> dict[str, Any]:
    prompt, completion = draw(counts), draw(counts)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    usage |= draw(st.dictionaries(st.sampled_from([*usage, "other"]), field, max_size=1))
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if draw(st.booleans()):
            usage[name] = draw(st.none() | details)
    return usage


@given(usage_objects())
def test_it_reads_what_the_sums_read_or_nothing(usage: dict[str, Any]) -> None:
    plain = plain_usage(msgspec.json.encode(usage))
    assert plain is None or plain == openai(usage)


USUAL = {
    "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 4, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
}  # fmt: skip


def test_the_usual_usage_is_read() -> None:
    plain = plain_usage(msgspec.json.encode(USUAL))
    assert plain is not None
    assert (plain.totals(), plain.reasoning_tokens) == ((20, 8, 9), 4)
    assert plain == openai(USUAL)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b'{"prompt_tokens":1,"completion_tokens":1}', b"\xff", b"[" * 5000])
def test_anything_else_is_left_to_the_sums(raw: bytes) -> None:
    assert plain_usage(raw) is None
