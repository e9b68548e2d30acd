"""Reads usage from answers of Gemini's and Vertex AI's generateContent, whole and streamed.

| field of `usageMetadata` | what it is here |
|---|---|
| promptTokenCount + toolUsePromptTokenCount | all input: what was read from a cache and media are inside |
| promptTokensDetails, toolUsePromptTokensDetails | of it AUDIO: input_audio, IMAGE: input_image; all else is text |
| cachedContentTokenCount, cacheTokensDetails | of it cache_read, cache_read_audio, cache_read_image |
| candidatesTokenCount + thoughtsTokenCount | output; thoughts are the reasoning |
| candidatesTokensDetails | of it AUDIO: output_audio, IMAGE: output_image |
| serviceTier; trafficType (Vertex AI) | the tier that was served |
| candidates[].groundingMetadata.webSearchQueries | web_searches: since Gemini 3 each different one, before that one an answer |

Source: google-genai 3.6.1, types.py, GenerateContentResponseUsageMetadata ("total_token_count … is the sum"), TrafficType;
"Grounding with Google Search", Gemini API docs (empty queries are free). 70 + 40 + 61 thoughts = 171 (recording 41). Details
may sum to less than their total, and a cached page may be an IMAGE where the prompt's is a DOCUMENT. A stream repeats the
metadata on each chunk, growing: the last is the answer's.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TypeVar

import msgspec
from msgspec import Raw

from pricing.usage import Usage
from proxy.metering.reading import Reading, UsageStream
from proxy.providers.answer_parts import (
    ABSENT,
    NULLS,
    UNREADABLE,
    as_text,
    hides_error,
    object_in,
    says_error,
    tier_name,
)
from proxy.providers.counts import Counts, objects, output_units, usage_of

_MAJOR_VERSION = re.compile(r"gemini-(\d{1,3})\b")
_PER_QUERY_SINCE = 3
_MAX_QUERIES = 1024
T = TypeVar("T")
_TRAFFIC = re.compile(r"on_demand_(\w+)")


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: Raw = ABSENT


class _Candidate(msgspec.Struct, rename="camel"):
    grounding_metadata: Raw = ABSENT


class _Answer(msgspec.Struct, rename="camel"):
    usage_metadata: Raw = ABSENT
    usage: Raw = ABSENT  # as it is kept in a row
    candidates: Raw = ABSENT
    model_version: Raw = ABSENT
    error: Raw = ABSENT


_decoder = msgspec.json.Decoder(_Answer)
_candidates = msgspec.json.Decoder(list[_Candidate])
_grounding = msgspec.json.Decoder(_Grounding)
_queries = msgspec.json.Decoder(list[object])
_chunks = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)


class GeminiUsageReader:
    """Stateless."""

    needle = b'"usageMetadata"'

    def read(self, data: bytes) -> Reading:
        stream = _Stream(whole=True)
        if data.lstrip()[:1] == b"[":  # streamed without alt=sse: the chunks in an array
            try:
                for chunk in _chunks.decode(data):
                    stream.feed(bytes(chunk))
            except UNREADABLE:
                return Reading(garbled=True)
        else:
            stream.feed(data)
        return stream.reading()

    def stream(self) -> UsageStream:
        return _Stream()


class _Stream:
    """`whole`: it is a body, which is all there will be."""

    __slots__ = ("_error", "_finished", "_garbled", "_model", "_queries", "_raw", "_whole")

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._raw = b""
        self._model = ""
        self._queries: set[str] = set()
        self._error = self._garbled = self._finished = False

    def feed(self, data: bytes) -> None:
        try:
            answer = _decoder.decode(data)
        except UNREADABLE:
            self._garbled = self._garbled or self._whole or GeminiUsageReader.needle in data
            return
        self._error = self._error or says_error(answer.error) or hides_error(data)
        raw = bytes(answer.usage_metadata) if bytes(answer.usage_metadata) not in NULLS else bytes(answer.usage)
        if raw not in NULLS:
            self._raw = raw
        if answer.model_version is not ABSENT:
            self._model = _decoded(_text, answer.model_version) or ""
        candidates = bytes(answer.candidates)
        if b'"finishReason"' in candidates:
            self._finished = True
        if b'"groundingMetadata"' in candidates:
            self._see_queries(candidates)

    def reading(self) -> Reading:
        fields = object_in(self._raw) if self._raw else None
        if not self._raw or (fields is not None and not any(name.endswith("TokenCount") for name in fields)):
            # A blocked prompt has a metadata without counts.
            return Reading(error=self._error, garbled=self._garbled, pending=self._goes_on())
        usage = None if fields is None else _sum_up(fields)
        if usage is not None and self._queries:
            usage.units["web_searches"] = len(self._queries) if self._is_paid_per_query() else 1
        return Reading(
            usage, as_text(("usage", self._raw)), error=self._error, garbled=self._garbled or usage is None,
            pending=self._goes_on(),
        )  # fmt: skip

    def _goes_on(self) -> bool:
        return not (self._whole or self._finished)

    def _see_queries(self, candidates: bytes) -> None:
        for candidate in _decoded(_candidates, candidates) or []:
            grounding = _decoded(_grounding, candidate.grounding_metadata)
            queries = None if grounding is None else _decoded(_queries, grounding.web_search_queries)
            for query in queries or []:
                if isinstance(query, str) and query.strip() and len(self._queries) < _MAX_QUERIES:
                    self._queries.add(query)

    def _is_paid_per_query(self) -> bool:
        version = _MAJOR_VERSION.search(self._model)
        return version is None or int(version[1]) >= _PER_QUERY_SINCE


def _decoded(decoder: msgspec.json.Decoder[T], raw: Raw | bytes) -> T | None:
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def _sum_up(fields: dict[str, object]) -> Usage | None:
    counts = Counts(fields)
    asked, tools = counts.get("promptTokenCount"), counts.get("toolUsePromptTokenCount")
    said, thoughts, total = counts.get("candidatesTokenCount"), counts.get("thoughtsTokenCount"), counts.get("totalTokenCount")
    if asked is None:
        if total is None or said is None:
            return None
        asked = counts.at_most(total, total - (tools or 0) - said - (thoughts or 0))
    prompt = asked + (tools or 0)
    # Zero counts are left out on this wire: recording 43 was stopped before it said anything.
    counts.must_equal(total, prompt + (said or 0) + (thoughts or 0))
    units = _input_units(counts, fields, prompt)
    made = _by_modality(counts, fields, "candidatesTokensDetails")
    units |= output_units(counts, completion=said or 0, audio=made.get("AUDIO"), image=made.get("IMAGE"))
    units["output"] += thoughts or 0
    usage = usage_of(counts, units, reasoning=thoughts)
    usage.service_tier = _tier(fields)
    return usage


def _input_units(counts: Counts, fields: dict[str, object], prompt: int) -> dict[str, int]:
    given = _by_modality(counts, fields, "promptTokensDetails", "toolUsePromptTokensDetails")
    audio = counts.at_most(prompt, given.get("AUDIO", 0))
    image = counts.at_most(prompt - audio, given.get("IMAGE", 0))
    text = prompt - audio - image
    units: dict[str, int] = {}
    reported = counts.get("cachedContentTokenCount")
    if reported is not None:
        cached = counts.at_most(prompt, reported)
        kinds = _by_modality(counts, fields, "cacheTokensDetails")
        # Not flagged where a cached class is more than the prompt's: providers name the same page differently there.
        cached_audio = min(kinds.get("AUDIO", 0), audio, cached)
        cached_image = min(kinds.get("IMAGE", 0), image, cached - cached_audio)
        cached_text = min(cached - cached_audio - cached_image, text)
        left = cached - cached_audio - cached_image - cached_text
        more_image = min(left, image - cached_image)
        cached_image, cached_audio = cached_image + more_image, cached_audio + left - more_image
        text, image, audio = text - cached_text, image - cached_image, audio - cached_audio
        units["cache_read"] = cached_text
        units |= {
            unit: count
            for unit, count in (("cache_read_image", cached_image), ("cache_read_audio", cached_audio))
            if count
        }
    units["input"] = text
    classes = (("AUDIO", "input_audio", audio), ("IMAGE", "input_image", image))
    units |= {unit: count for name, unit, count in classes if name in given}
    return units


def _by_modality(counts: Counts, fields: dict[str, object], *names: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for name in names:
        for entry in objects(fields, name):
            kind, count = entry.get("modality"), counts.of(entry, "tokenCount")
            if isinstance(kind, str) and count is not None:
                found[kind] += count
    return found


def _tier(fields: dict[str, object]) -> str | None:
    """Vertex AI names traffic: ON_DEMAND is the standard tier, ON_DEMAND_FLEX is flex (recording 44)."""
    traffic = tier_name(fields.get("trafficType"))
    if traffic is None or traffic == "traffic_type_unspecified":
        tier = tier_name(fields.get("serviceTier"))
        return None if tier == "unspecified" else tier
    named = _TRAFFIC.fullmatch(traffic)
    return named[1] if named is not None else traffic
