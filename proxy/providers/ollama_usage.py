"""Reads usage from answers of Ollama's own API: /api/chat and /api/generate, whole and line by line.

| field | what it is here |
|---|---|
| prompt_eval_count | input |
| eval_count | output |

Source: ollama 0.6.3 (Python), _types.py, BaseGenerateResponse. They stand at the top of the last object, the one
with `done: true`. A prompt that was read from the server's cache may have no count: missing, and not zero.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading, UsageStream
from proxy.providers.answer_parts import ABSENT, UNREADABLE, as_text, hides_error, object_in, says_error
from proxy.providers.counts import Counts
from proxy.providers.last_usage import LastUsage

_UNITS = {"prompt_eval_count": "input", "eval_count": "output"}


class _Answer(msgspec.Struct):
    prompt_eval_count: Raw = ABSENT
    eval_count: Raw = ABSENT
    usage: Raw = ABSENT  # as it is kept in a row
    error: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class OllamaUsageReader:
    """Stateless."""

    needle = b'"eval_count"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error)
        raw = bytes(answer.usage)
        if answer.eval_count is not ABSENT:
            told = [(b"prompt_eval_count", answer.prompt_eval_count), (b"eval_count", answer.eval_count)]
            raw = b"{%b}" % b",".join(b'"%b":%b' % (name, bytes(count)) for name, count in told if count is not ABSENT)
        if not raw or raw == b"null":
            return Reading(error=error or hides_error(data))
        usage = _sum_up(object_in(raw) or {})
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)

    def stream(self) -> UsageStream:
        return LastUsage(self)


def _sum_up(fields: dict[str, object]) -> Usage | None:
    counts = Counts(fields)
    units = {unit: count for name, unit in _UNITS.items() if (count := counts.get(name)) is not None}
    return Usage(units, inconsistent=counts.inconsistent) if "output" in units else None
