"""Reads usage from answers that have no output tokens: embeddings, and moderations, where a provider reports any."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import ABSENT, NULLS, UNREADABLE, as_text, hides_error, object_in, says_error, tier_of
from proxy.providers.counts import Counts, child, input_units


class _Answer(msgspec.Struct):
    usage: Raw = ABSENT
    results: Raw = ABSENT
    service_tier: Raw = ABSENT
    error: Raw = ABSENT
    object: Raw = ABSENT
    type: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class EmbeddingsUsageReader:
    """prompt is all there is (recording 10). Vectors are skipped, not decoded."""

    needle = b'"prompt_tokens"'

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        error = says_error(answer.error, answer.type, answer.object)
        raw = bytes(answer.usage)
        if raw in NULLS:
            return Reading(error=error or hides_error(data))
        fields = object_in(raw)
        usage = None if fields is None else _sum_up(fields)
        if usage is not None:
            usage.service_tier = tier_of(bytes(answer.service_tier))
        return Reading(usage, as_text(("usage", raw)), error=error, garbled=usage is None)


class ModerationsUsageReader:
    """OpenAI's are free and report nothing (API reference, "Moderations"): then an answer consumed nothing, which is known."""

    needle = EmbeddingsUsageReader.needle

    def __init__(self) -> None:
        self._reported = EmbeddingsUsageReader()

    def read(self, data: bytes) -> Reading:
        reading = self._reported.read(data)
        if reading != Reading():
            return reading
        return Reading(Usage() if bytes(_decoder.decode(data).results) not in NULLS else None)


def _sum_up(fields: dict[str, object]) -> Usage | None:
    """Mistral says completion_tokens 0, OpenRouter splits the prompt by kind."""
    counts = Counts(fields)
    prompt, total = counts.get("prompt_tokens"), counts.get("total_tokens")
    output = counts.get("completion_tokens")
    if prompt is None:
        prompt = None if total is None else counts.at_most(total, total - (output or 0))
    if prompt is None:
        return None
    counts.must_equal(total, prompt + (output or 0))
    inside = child(fields, "prompt_tokens_details")
    units = input_units(
        counts, prompt=prompt, cached=counts.of(inside, "cached_tokens"), writes={},
        audio=counts.of(inside, "audio_tokens"), image=counts.of(inside, "image_tokens"),
    )  # fmt: skip
    if output:
        units["output"] = output
    return Usage(units=units, inconsistent=counts.inconsistent)
