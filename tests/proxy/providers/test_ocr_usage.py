from __future__ import annotations

import json
from typing import Any

import pytest

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.readers import reader_for


def read(**answer: Any) -> Reading:
    pages = [{"index": 0, "markdown": '"image_annotation": "x"', "images": [{"id": "img-0", "image_annotation": None}]}]
    return reader_for("ocr", "mistral").read(json.dumps({"pages": pages, **answer}).encode())


def test_pages() -> None:
    assert read(usage_info={"pages_processed": 7, "doc_size_bytes": 99}).usage == Usage({"pages": 7})
    assert read(usage_info={"pages_processed": 0}).usage == Usage({"pages": 0})


@pytest.mark.parametrize(
    "annotated",
    [{"document_annotation": '{"a":1}'}, {"pages": [{"images": [{"image_annotation": '{"a":1}'}]}]}],
)
def test_annotated_pages_are_billed_once_at_their_own_price(annotated: dict[str, Any]) -> None:
    assert read(usage_info={"pages_processed": 7}, **annotated).usage == Usage({"pages_annotated": 7})


def test_unreadable_usage_is_garbled_not_zero() -> None:
    for usage in ({}, [], 5, {"pages_processed": True}):
        assert (read(usage_info=usage).usage, read(usage_info=usage).garbled) == (None, True)
    assert read() == Reading()
    assert read(error={"message": "m"}).error
