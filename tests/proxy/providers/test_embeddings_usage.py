from __future__ import annotations

import json
from typing import Any

import pytest

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.readers import reader_for


def read(surface: str, **answer: object) -> Reading:
    return reader_for(surface, "openai").read(json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("usage", "units", "inconsistent"),
    [
        ({"prompt_tokens": 9, "total_tokens": 9}, {"input": 9}, False),
        ({"prompt_tokens": 0, "total_tokens": 0}, {"input": 0}, False),
        ({"prompt_tokens": 9}, {"input": 9}, False),
        ({"total_tokens": 9}, {"input": 9}, False),
        ({"prompt_tokens": 9, "total_tokens": 12}, {"input": 9}, True),
        ({"prompt_tokens": -1, "total_tokens": -1}, {"input": 0}, True),
        # Mistral
        ({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9, "prompt_audio_seconds": {}}, {"input": 9}, False),
        ({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}, {"input": 9, "output": 3}, False),
        # OpenRouter, an embedding of an image
        (
            {"prompt_tokens": 9, "total_tokens": 9, "cost": 1e-7, "prompt_tokens_details": {"image_tokens": 4}},
            {"input": 5, "input_image": 4},
            False,
        ),
    ],
)
def test_embeddings(usage: dict[str, Any], units: dict[str, int], inconsistent: bool) -> None:
    for surface in ("embeddings", "moderations"):
        reading = read(surface, object="list", data=[{"embedding": [0.1] * 9}], results=[], usage=usage)
        assert reading.usage == Usage(units, inconsistent=inconsistent)
        assert json.loads(reading.raw_usage or "") == usage


@pytest.mark.parametrize("usage", [{}, [], 5, {"prompt_tokens": "9"}])
def test_unreadable_is_garbled_not_zero(usage: object) -> None:
    reading = read("embeddings", usage=usage)
    assert (reading.usage, reading.garbled) == (None, True)


def test_no_usage_is_none_and_an_error_is_one() -> None:
    assert read("embeddings", data=[], usage=None) == Reading()
    assert read("embeddings", error={"message": "m"}) == Reading(error=True)
    assert reader_for("embeddings", "openai").read(b'{"data":[') == Reading(garbled=True)


def test_a_moderation_without_usage_consumed_nothing() -> None:
    assert read("moderations", id="m", results=[{"flagged": False}]).usage == Usage()
    assert read("moderations", id="m").usage is None
    assert read("moderations", error={"message": "m"}, results=[]) == Reading(error=True)
