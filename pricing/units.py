"""The registry of units: what can be counted, and what a quantity without a price of its own costs.

Token classes are disjoint: a token is in exactly one of them, and together they are the provider's totals. `reasoning`,
`requests`, `errors` and `unpriced` are information beside them: they may appear in a rollup, but nobody owes anything for
them (`requests` is the exception where a price names it: a flat fee per attempt, as at Perplexity).
A new unit is a row here; the table `units` mirrors it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "count"]


@dataclass(frozen=True, slots=True)
class Unit:
    """`fallback`: the unit whose price applies where this one has none. Only ever towards a price that is not lower."""

    name: str
    kind: Kind
    description: str
    fallback: str | None = None
    information: bool = False  # not owed by itself: without a price item it leaves the event priced


_ALL = (
    Unit("input", "token", "text input tokens that were neither read from nor written to a cache"),
    # No published cached price means no discount (genai-prices and the providers' tables agree): billed as input.
    Unit("cache_read", "token", "input tokens read from a prompt cache", fallback="input"),
    # Writes have no fallback: Anthropic and new OpenAI models bill them above input, so `input` would be too low.
    Unit("cache_write_5m", "token", "input tokens written to a cache that lives 5 minutes"),
    Unit("cache_write_30m", "token", "input tokens written to a cache that lives 30 minutes"),
    Unit("cache_write_1h", "token", "input tokens written to a cache that lives 1 hour"),
    Unit("cache_write_12h", "token", "input tokens written to a cache that lives 12 hours"),
    Unit("input_audio", "token", "audio input tokens"),
    Unit("cache_read_audio", "token", "audio input tokens read from a prompt cache", fallback="input_audio"),
    # Vision chat models publish one input price for text and images; models with another one for images list it.
    Unit("input_image", "token", "image input tokens", fallback="input"),
    Unit("cache_read_image", "token", "image input tokens read from a prompt cache", fallback="input_image"),
    Unit("output", "token", "text output tokens, reasoning inside"),
    Unit("output_audio", "token", "audio output tokens"),
    Unit("output_image", "token", "image output tokens"),
    Unit("reasoning", "token", "output tokens spent on reasoning; already inside output", information=True),
    Unit("requests", "count", "attempts; priced only where a provider takes a fee per request", information=True),
    Unit("errors", "count", "attempts that ended in an error", information=True),
    Unit("unpriced", "count", "attempts whose cost is not wholly known", information=True),
    Unit("web_searches", "count", "web searches made by the provider"),
    Unit("file_searches", "count", "searches in files or vector stores kept at the provider"),
    Unit("code_sessions", "count", "code interpreter sessions"),
    Unit("rerank_searches", "count", "rerank searches"),
    Unit("images", "count", "images made, where they are not billed by token"),
    Unit("characters", "count", "characters spoken or translated"),
    Unit("pages", "count", "document pages processed"),
    Unit("pages_annotated", "count", "document pages processed with annotations"),
    Unit("audio_ms", "count", "milliseconds of audio"),
    Unit("video_ms", "count", "milliseconds of video"),
)

UNITS: Mapping[str, Unit] = {unit.name: unit for unit in _ALL}
