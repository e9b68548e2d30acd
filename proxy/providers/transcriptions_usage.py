"""Reads usage from answers of the audio transcription and translation API.

| field | what it is here |
|---|---|
| usage.type tokens: input_tokens, input_token_details.audio_tokens | input, input_audio |
| usage.output_tokens | output |
| usage.type duration: seconds | audio_ms: 4 s for 3.7 s of speech, as OpenAI bills it |
| without usage: duration (verbose answers of OpenAI's and Groq's whisper) | audio_ms |

Source: openai 3.57, types/audio/transcription.py, transcription_verbose.py. Groq bills at least 10 s: its price says so.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, hides_error, object_in, says_error
from proxy.providers.counts import MAX_COUNT, Counts, child


class _Answer(msgspec.Struct):
    usage: Raw = ABSENT
    duration: Any = None
    error: Raw = ABSENT
    type: Raw = ABSENT


# A duration as it is written: 0.1 s is 100 ms, not 99.
_decoder = msgspec.json.Decoder(_Answer, float_hook=Decimal)
_exact = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)


class TranscriptionsUsageReader:
    """Stateless; of a stream the event transcript.text.done has usage."""

    needle = b'"usage"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error, answer.type)
        raw = bytes(answer.usage)
        if raw in NULLS:
            took_ms = milliseconds(answer.duration)
            return Reading(None if took_ms is None else Usage({"audio_ms": took_ms}), error=error or hides_error(data))
        usage = _sum_up(raw)
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)


def _sum_up(raw: bytes) -> Usage | None:
    fields = object_in(raw)
    if fields is None:
        return None
    if fields.get("type") == "duration":
        took_ms = milliseconds(_exact.decode(raw).get("seconds"))
        return None if took_ms is None else Usage({"audio_ms": took_ms})
    counts = Counts(fields)
    given, made = counts.get("input_tokens"), counts.get("output_tokens")
    if given is None or made is None:
        return None
    counts.must_equal(counts.get("total_tokens"), given + made)
    audio = counts.of(child(fields, "input_token_details"), "audio_tokens")
    units = {"input": given, "output": made}
    if audio is not None:
        units["input_audio"] = counts.at_most(given, audio)
        units["input"] = given - units["input_audio"]
    return Usage(units, inconsistent=counts.inconsistent)


def milliseconds(seconds: object) -> int | None:
    """To the nearest one: whisper says 8.470000267028809. None: it is no duration, or longer than any."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | Decimal):
        return None
    if isinstance(seconds, Decimal) and not seconds.is_finite():
        return None
    if not 0 <= seconds <= MAX_COUNT // 1000:
        return None
    return int((Decimal(seconds) * 1000).to_integral_value(ROUND_HALF_EVEN))
