"""Reads usage from OpenAI-shaped chat answers: bodies and chunks have the same names at the top."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.usage_sums import Sums

_NULLS = frozenset([b"", b"null"])
_NO_ERROR = frozenset([b"", b"null", b"false", b'""', b"{}", b"[]"])
_MAX_RAW_USAGE = 8192
# Chat search models make one billed search per request and do not report it (recording 12).
_SEARCH_MODEL = re.compile(rb"-search-(?:preview|api)")
# A wish that some echo; what was served stays unknown.
_NOT_SERVED = frozenset(["", "auto"])
_NOT_A_NAME = re.compile(r"[^a-z0-9_.\-]")
_SAME_TIER = {"standard": "default", "on_demand": "default", "fast": "priority"}


# Raw with a default, never `Raw | None`: msgspec would accept only null (and every answer would be free).
_ABSENT = Raw(b"")


class _Answer(msgspec.Struct):
    choices: Raw = _ABSENT
    usage: Raw = _ABSENT
    x_groq: Raw = _ABSENT
    service_tier: Raw = _ABSENT
    error: Raw = _ABSENT
    object: Raw = _ABSENT
    type: Raw = _ABSENT
    model: Raw = _ABSENT


_decoder = msgspec.json.Decoder(_Answer)
_objects = msgspec.json.Decoder(dict[str, object])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
        except _UNREADABLE:
            return Reading(garbled=True)
        choices = bytes(answer.choices)
        bare = choices == b"[]" or (len(choices) < 64 and choices.startswith(b"[") and not choices[1:-1].strip())
        error = _is_error(answer)
        raw = self._usage_in(answer)
        if raw in _NULLS:
            return Reading(None, None, bare, error)
        usage = None if self._plain is None else self._plain(raw)
        tier = answer.service_tier
        if usage is None:
            usage = self._sum_up(raw, tier)
        elif tier is not _ABSENT:
            usage.service_tier = _tier(bytes(tier))
        if usage is not None and answer.model is not _ABSENT:
            model = bytes(answer.model)
            if b"-search-" in model and _SEARCH_MODEL.search(model):
                usage.units.setdefault("web_searches", 1)
        return Reading(usage, raw.decode(errors="replace")[:_MAX_RAW_USAGE], bare, error, usage is None)

    def _usage_in(self, answer: _Answer) -> bytes:
        raw = bytes(answer.usage)
        if answer.x_groq is not _ABSENT and raw in _NULLS:
            # Groq puts stream usage under x_groq (recording 29: only there; 28: in both, the same).
            try:
                return bytes(msgspec.json.decode(answer.x_groq, type=_Answer).usage)
            except _UNREADABLE:
                return b""
        return raw

    def _sum_up(self, raw: bytes, tier: Raw) -> Usage | None:
        try:
            fields = _objects.decode(raw)
        except _UNREADABLE:
            return None
        usage = self._sums(fields)
        if usage is not None:
            # Mistral has the tier inside usage.
            usage.service_tier = _tier(bytes(tier)) or _tier_name(fields.get("service_tier"))
        return usage


def _is_error(answer: _Answer) -> bool:
    """An `error` that says something; vLLM says object: error, a bare error object as data type: error."""
    if answer.error is not _ABSENT and bytes(answer.error) not in _NO_ERROR:
        return True
    if answer.type is not _ABSENT and bytes(answer.type) == b'"error"':
        return True
    return answer.object is not _ABSENT and bytes(answer.object) == b'"error"'


def _tier(raw: bytes) -> str | None:
    if raw == b'"default"':  # on every chunk of OpenAI's
        return "default"
    if not raw.startswith(b'"'):
        return None
    try:
        return _tier_name(msgspec.json.decode(raw))
    except _UNREADABLE:
        return None


def _tier_name(value: object) -> str | None:
    """The tier served: `default` for the standard one under any name, others in lower case. None: not said."""
    if not isinstance(value, str):
        return None
    name = _NOT_A_NAME.sub("?", value.strip().lower()[:64])
    return None if name in _NOT_SERVED else _SAME_TIER.get(name, name)
