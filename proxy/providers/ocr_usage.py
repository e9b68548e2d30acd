"""Reads usage from answers of Mistral's OCR: `usage_info.pages_processed`.

| field | what it is here |
|---|---|
| usage_info.pages_processed | pages; pages_annotated where the answer has annotations, which are dearer and bill a page once |

Source: mistralai 3.7, client/models/ocrusageinfo.py, ocrresponse.py, ocrimageobject.py; that annotated pages replace
plain ones: genai-prices 0.2.3, "ocr_annotated".
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, hides_error, object_in, says_error
from proxy.providers.counts import Counts

_ANNOTATION = re.compile(rb'"image_annotation"\s*:\s*(?!null|\s)')


class _Answer(msgspec.Struct):
    pages: Raw = ABSENT
    document_annotation: Raw = ABSENT
    usage_info: Raw = ABSENT
    error: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class OcrUsageReader:
    """Stateless."""

    needle = b'"usage_info"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error)
        raw = bytes(answer.usage_info)
        if raw in NULLS:
            return Reading(error=error or hides_error(data))
        counts = Counts(object_in(raw) or {})
        pages = counts.get("pages_processed")
        annotated = bytes(answer.document_annotation) not in NULLS or _ANNOTATION.search(bytes(answer.pages)) is not None
        unit = "pages_annotated" if annotated else "pages"
        usage = None if pages is None else Usage({unit: pages}, inconsistent=counts.inconsistent)
        return Reading(usage, as_text(("usage_info", raw)), error=error, garbled=usage is None)
