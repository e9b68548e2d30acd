"""Reads usage from answers of Cohere's own API: chat (whole and streamed), embed, rerank.

| field of `billed_units` | what it is here |
|---|---|
| input_tokens, image_tokens | input, input_image |
| output_tokens | output |
| search_units | rerank_searches |
| pages | pages |

Source: cohere 7.3, types/usage.py, types/api_meta_billed_units.py. They stand in `usage` of a chat, in `meta` elsewhere, in
`delta.usage` of a stream's message-end (v1: `response.meta` of its stream-end). What is billed is less than `tokens`, which
count the tools' preamble: 62 of 968 (recording 48). `cached_tokens` are of those (2,928 with 2,406 billed) and no class of
what is billed.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading, UsageStream
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, hides_error, object_in, says_error
from proxy.providers.counts import Counts, child
from proxy.providers.last_usage import LastUsage

_UNITS = {
    "input_tokens": "input", "image_tokens": "input_image", "output_tokens": "output", "search_units": "rerank_searches",
    "pages": "pages",
}  # fmt: skip


class _Answer(msgspec.Struct):
    usage: Raw = ABSENT
    meta: Raw = ABSENT
    delta: Raw = ABSENT
    response: Raw = ABSENT  # v1's stream-end
    error: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class CohereUsageReader:
    """Stateless."""

    needle = b'"billed_units"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
            error = says_error(answer.error)
            for inside in (answer.delta, answer.response):
                if bytes(inside)[:1] == b"{":
                    answer = _decoder.decode(inside)
                    error = error or says_error(answer.error)
        except UNREADABLE:
            return Reading(garbled=True)
        raw = bytes(answer.usage) if bytes(answer.usage) not in NULLS else bytes(answer.meta)
        fields = object_in(raw) if raw not in NULLS else {}
        if fields is not None and "billed_units" not in fields:
            return Reading(error=error or hides_error(data))
        usage = None if fields is None else _sum_up(child(fields, "billed_units"))
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)

    def stream(self) -> UsageStream:
        return LastUsage(self)


def _sum_up(billed: dict[str, object]) -> Usage | None:
    counts = Counts(billed)
    units = {unit: count for name, unit in _UNITS.items() if (count := counts.get(name)) is not None}
    return Usage(units, inconsistent=counts.inconsistent) if units else None
