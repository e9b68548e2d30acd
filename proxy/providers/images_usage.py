"""Reads usage from answers of the images API: by the token where the model counts tokens, else by size and quality.

| field | what it is here |
|---|---|
| usage.input_tokens, its details | input, input_image |
| usage.output_tokens, its details | output_image, text to output |
| svg_usage | a part at the price of its model |
| without usage: data[], size, quality | images/1024x1024/high and the like, as many as were made |

Source: openai 3.57, types/images_response.py, image_gen_completed_event.py. Edits return details of both directions. Of partial
images the tokens are in the last event's usage.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from pricing.usage import Part, Usage
from proxy.metering.hosted_tools import images_unit
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, hides_error, name_of, object_in, says_error
from proxy.providers.counts import Counts, image_model_units


class _Answer(msgspec.Struct):
    data: Raw = ABSENT
    usage: Raw = ABSENT
    svg_usage: Raw = ABSENT
    size: Any = None
    quality: Any = None
    error: Raw = ABSENT
    type: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)
_values = msgspec.json.Decoder(list[Raw])


class ImagesUsageReader:
    """Stateless. Of size and quality it knows what the answer says: who knows the request's adds them."""

    needle = b'"output_tokens"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error, answer.type)
        raw = bytes(answer.usage)
        if raw in NULLS:
            made = _count(answer.data)
            usage = Usage({images_unit(answer.size, answer.quality): made}) if made else None
            return Reading(usage, error=error or hides_error(data))
        told = object_in(raw)
        counts = Counts(told or {})
        usage = None
        if told is not None and counts.get("output_tokens") is not None:
            units = image_model_units(counts, told)
            parts = _svg(counts, answer.svg_usage)
            usage = Usage(units, inconsistent=counts.inconsistent, parts=parts)
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)


def _count(data: Raw) -> int:
    try:
        return len(_values.decode(data))
    except UNREADABLE:
        return 0


def _svg(counts: Counts, raw: Raw) -> tuple[Part, ...]:
    told = object_in(raw) if bytes(raw) not in NULLS else None
    if told is None:
        return ()
    units = {"input": counts.of(told, "input_tokens") or 0, "output": counts.of(told, "output_tokens") or 0}
    units = {unit: count for unit, count in units.items() if count}
    return (Part(name_of(told.get("model")), units),) if units else ()
