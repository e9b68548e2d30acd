"""Usage of the images API: figures by hand, from bodies in the form of openai 3.57."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pricing.usage import Part, Usage
from proxy.metering.reading import Reading
from proxy.providers.readers import reader_for

USAGE = {
    "input_tokens": 100, "input_tokens_details": {"image_tokens": 60, "text_tokens": 40}, "output_tokens": 1100,
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 44}, "total_tokens": 1200,
}  # fmt: skip


def read(**answer: Any) -> Reading:
    return reader_for("images", "openai").read(json.dumps({"created": 1, "data": [{"b64_json": "x"}], **answer}).encode())


def test_tokens_where_the_model_counts_them() -> None:
    units = {"input": 40, "input_image": 60, "output": 44, "output_image": 1056}
    assert read(usage=USAGE, size="1024x1024", quality="high").usage == Usage(units)
    # The last event of a stream has it at its top.
    assert read(type="image_generation.completed", usage=USAGE).usage == Usage(units)


def test_an_output_that_is_not_split_is_images() -> None:
    found = read(usage={name: value for name, value in USAGE.items() if name != "output_tokens_details"}).usage
    assert found == Usage({"input": 40, "input_image": 60, "output": 0, "output_image": 1100})


def test_pieces_where_it_does_not() -> None:
    two = [{"url": "a"}, {"url": "b"}]
    assert read(data=two, size="1024x1536", quality="high").usage == Usage({"images/1024x1536/high": 2})
    assert read(data=two).usage == Usage({"images": 2})
    assert read(data=[]).usage is None


def test_drawings_are_another_models() -> None:
    svg = {"model": "gpt-6-luna", "input_tokens": 7, "output_tokens": 5, "reasoning_tokens": 2, "total_tokens": 12}
    found = read(usage=USAGE, svg_usage=svg).usage
    assert found is not None
    assert found.parts == (Part("gpt-6-luna", {"input": 7, "output": 5}),)


@pytest.mark.parametrize(
    ("wrong", "units"),
    [
        ({"total_tokens": 7}, {"input": 40, "input_image": 60, "output": 44, "output_image": 1056}),
        ({"input_tokens_details": {"image_tokens": 101}}, {"input": 0, "input_image": 100, "output": 44, "output_image": 1056}),
        ({"output_tokens_details": {"text_tokens": -1}}, {"input": 40, "input_image": 60, "output": 0, "output_image": 1100}),
    ],
)
def test_contradictions_are_clamped_and_flagged(wrong: dict[str, Any], units: dict[str, int]) -> None:
    assert read(usage={**USAGE, **wrong}).usage == Usage(units, inconsistent=True)


def test_unreadable_usage_is_garbled_not_zero() -> None:
    for usage in ({}, [], 5, {"output_tokens": "7"}):
        assert (read(usage=usage).usage, read(usage=usage).garbled) == (None, True)
    assert read(error={"message": "m"}, data=None) == Reading(error=True)
