"""Reads usage from OpenAI-shaped chat answers: bodies and chunks have the same names at the top."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.answer_parts import (
    ABSENT,
    NULLS,
    UNREADABLE,
    as_text,
    hides_error,
    object_in,
    says_error,
    tier_name,
    tier_of,
)  # fmt: skip
from proxy.providers.usage_sums import Sums

# Chat search models make one billed search per request and do not report it (recording 12).
_SEARCH_MODEL = re.compile(rb"-search-(?:preview|api)")


class _Answer(msgspec.Struct):
    choices: Raw = ABSENT
    usage: Raw = ABSENT
    x_groq: Raw = ABSENT
    service_tier: Raw = ABSENT
    error: Raw = ABSENT
    object: Raw = ABSENT
    type: Raw = ABSENT
    model: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)


class OpenAIUsageReader:
    """`sums`: what this provider's fields mean. Every usage of a chat answer has `completion_tokens`."""

    needle = b'"completion_tokens"'

    def __init__(self, sums: Sums, *, plain: Callable[[bytes], Usage | None] | None = None) -> None:
        """`plain` reads what these sums have nothing to decide about, in less time; None: they decide."""
        self._sums = sums
        self._plain = plain

    def read(self, data: bytes) -> Reading:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            return Reading(garbled=True)
        choices = bytes(answer.choices)
        bare = choices == b"[]" or (len(choices) < 64 and choices.startswith(b"[") and not choices[1:-1].strip())
        error = says_error(answer.error, answer.type, answer.object)
        raw = self._usage_in(answer)
        if raw in NULLS:
            return Reading(None, None, bare, error or hides_error(data))
        usage = None if self._plain is None else self._plain(raw)
        tier = answer.service_tier
        if usage is None:
            usage = self._sum_up(raw, tier)
        elif tier is not ABSENT:
            usage.service_tier = tier_of(bytes(tier))
        if usage is not None and answer.model is not ABSENT:
            model = bytes(answer.model)
            if b"-search-" in model and _SEARCH_MODEL.search(model):
                usage.units.setdefault("web_searches", 1)
        return Reading(usage, as_text(("usage", raw)), bare, error, usage is None)

    def _usage_in(self, answer: _Answer) -> bytes:
        raw = bytes(answer.usage)
        if answer.x_groq is not ABSENT and raw in NULLS:
            # Groq puts stream usage under x_groq (recording 29: only there; 28: in both, the same).
            try:
                return bytes(msgspec.json.decode(answer.x_groq, type=_Answer).usage)
            except UNREADABLE:
                return b""
        return raw

    def _sum_up(self, raw: bytes, tier: Raw) -> Usage | None:
        fields = object_in(raw)
        usage = None if fields is None else self._sums(fields)
        if fields is not None and usage is not None:
            # Mistral has the tier inside usage.
            usage.service_tier = tier_of(bytes(tier)) or tier_name(fields.get("service_tier"))
        return usage
