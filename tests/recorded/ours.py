"""What the gateway's own readers and meters find in a recorded answer, and what the price book and rating make of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pricing.book import DAWN
from pricing.book import find as find_in_book
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.price_text import PricePoint
from pricing.rate import PriceOf, Rated, in_force, no_price_of, rate
from pricing.usage import CACHED_UNITS, INPUT_UNITS, OUTPUT_UNITS, Usage
from proxy.metering.meters import open_meter
from proxy.metering.reading import NativeReader
from proxy.providers.native import NATIVE
from proxy.providers.readers import reader_for
from proxy.wire.sse import FrameScanner, data_of, split_frames
from tests.recorded.exchanges import Exchange

# The `usage_reader` of each provider, as config.yaml and docs/configuration.md have it.
READERS = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "openai",
    "google": "gemini_openai",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "openrouter": "openrouter",
    "together": "together",
    "local": "openai",
    "zai": "openai",
}
_NO_ID = UUID(int=0)
_MAX_PIECE = 700
# Ours → genai-prices' names. Theirs overlap (a cached audio token is in three of them), so a unit may be in several.
_PARTS = {
    "input_tokens": INPUT_UNITS,
    "output_tokens": OUTPUT_UNITS,
    "cache_read_tokens": CACHED_UNITS,
    "cache_write_tokens": ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h"),
    "cache_write_5m_tokens": ("cache_write_5m",),
    "cache_write_1h_tokens": ("cache_write_1h",),
    "input_audio_tokens": ("input_audio", "cache_read_audio"),
    "cache_audio_read_tokens": ("cache_read_audio",),
    "input_image_tokens": ("input_image", "cache_read_image"),
    "cache_image_read_tokens": ("cache_read_image",),
    "output_audio_tokens": ("output_audio",),
    "output_image_tokens": ("output_image",),
    "web_searches": ("web_searches",),
    "storage_searches": ("file_searches",),
}
THEIR_NAMES = frozenset(["output_reasoning_tokens", *_PARTS])
_NAMED = frozenset(unit for units in _PARTS.values() for unit in units)


@dataclass(frozen=True)
class Found:
    """`usage` None: the provider reported none that we can read."""

    usage: Usage | None
    garbled: bool = False

    def in_their_terms(self) -> dict[str, int]:
        """By genai-prices' names. What it has no name for keeps ours: a quantity of it is a difference."""
        if self.usage is None:
            return {}
        units: Counter[str] = Counter(self.usage.units)
        for part in self.usage.parts:
            units.update(part.units)
        terms = {}
        for name, parts in _PARTS.items():
            if any(unit in units for unit in parts):
                terms[name] = sum(units.get(unit, 0) for unit in parts)
        terms |= {unit: count for unit, count in units.items() if unit not in _NAMED}
        if self.usage.reasoning_tokens is not None:
            terms["output_reasoning_tokens"] = self.usage.reasoning_tokens
        return terms


def find(exchange: Exchange) -> Found:
    native = NATIVE.get(exchange.dialect)
    return _find_native(exchange, native) if native is not None else _find_openai_shaped(exchange)


def _find_native(exchange: Exchange, reader: NativeReader) -> Found:
    if exchange.is_stream:
        stream = reader.stream()
        for data in _events(exchange):
            stream.feed(data)
        reading = stream.reading()
    else:
        reading = reader.read(exchange.body)
    return Found(reading.usage, reading.garbled)


def _events(exchange: Exchange) -> Iterator[bytes]:
    """The data of each, found by the gateway's own scanner."""
    if exchange.is_frames:
        yield from exchange.payloads()
        return
    if exchange.is_lines:
        yield from exchange.body.splitlines()
        return
    scanner = FrameScanner()
    for piece in pieces(exchange):
        for frame in split_frames(scanner.feed(piece)):
            if data := data_of(frame):
                yield data
    if rest := data_of(scanner.finish()):
        yield rest


def _find_openai_shaped(exchange: Exchange) -> Found:
    reader = reader_for(exchange.dialect, READERS[exchange.provider])
    if not exchange.is_stream:
        reading = reader.read(exchange.body)
        return Found(reading.usage, reading.garbled)
    choices = exchange.asked.get("n")
    meter = open_meter(
        exchange.dialect, reader, strip_usage_chunk=False, clean_error=None,
        choices=choices if isinstance(choices, int) else 1,
    )  # fmt: skip
    for piece in pieces(exchange):
        meter.feed(piece)
    meter.finish()
    return Found(meter.usage, meter.decode_errors > 0)


def pieces(exchange: Exchange) -> Iterator[bytes]:
    """The body cut anywhere: where the network cut it is lost. The same every time."""
    cut, at = random.Random(exchange.name), 0
    while at < len(exchange.body):
        size = cut.randint(1, _MAX_PIECE)
        yield exchange.body[at : at + size]
        at += size


def price_of(provider: str, model: str, moment: datetime) -> PriceVersion | Unpriced:
    """Out of the price book that ships with the gateway."""
    versions = [
        version(dated.points, dated.effective_from, dated.effective_to, dated.source)
        for dated in find_in_book(provider, model)
    ]
    return in_force(versions, moment)


def version(
    points: Iterable[PricePoint],
    effective_from: datetime = DAWN,
    effective_to: datetime | None = None,
    source: str = "",
) -> PriceVersion:
    items = tuple(PriceItem(_NO_ID, **point._asdict()) for point in points)
    return PriceVersion(_NO_ID, effective_from, effective_to, source, items)


def rated(
    usage: Usage, price: PriceVersion | Unpriced, moment: datetime, price_of: PriceOf = no_price_of
) -> Rated:  # fmt: skip
    """`price_of`: of other models that it called."""
    return rate(usage, price, moment.hour * 60 + moment.minute, price_of)
