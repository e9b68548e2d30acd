"""What an attempt consumed: a map from unit to quantity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

# Token classes are disjoint and add up to the provider's totals (pricing/units.py is the registry).
INPUT_UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h",
               "input_audio", "cache_read_audio", "input_image", "cache_read_image")
CACHED_UNITS = ("cache_read", "cache_read_audio", "cache_read_image")
OUTPUT_UNITS = ("output", "output_audio", "output_image")
_TEXT = {"input", "cache_read", "output"}
_INPUT, _CACHED, _OUTPUT = frozenset(INPUT_UNITS), frozenset(CACHED_UNITS), frozenset(OUTPUT_UNITS)


class Part(NamedTuple):
    """What another model consumed inside an attempt. `model` None: the provider does not say which."""

    model: str | None
    units: dict[str, int]


@dataclass(slots=True)
class Usage:
    """`units`: quantity by unit name. A unit that is absent was not reported; 0 was reported as none."""

    units: dict[str, int] = field(default_factory=dict)
    reasoning_tokens: int | None = None  # information: already inside `output`
    inconsistent: bool = False  # the provider contradicted itself; quantities were clamped
    service_tier: str | None = None  # the tier served, where the provider says it
    processing: str = ""  # "batch"
    parts: tuple[Part, ...] = ()  # beside `units`, at another model's price

    @property
    def input_tokens(self) -> int:
        return self.totals()[0]

    @property
    def cached_tokens(self) -> int:
        return self.totals()[1]

    @property
    def output_tokens(self) -> int:
        return self.totals()[2]

    def totals(self) -> tuple[int, int, int]:
        """Input (cached ones included), cached input, output (reasoning included); with what other models consumed."""
        units = self.units
        if self.parts:
            return self._totals_with_parts()
        if units.keys() <= _TEXT:
            cached_tokens = units.get("cache_read", 0)
            return units.get("input", 0) + cached_tokens, cached_tokens, units.get("output", 0)
        input_tokens = cached_tokens = output_tokens = 0
        for unit, quantity in units.items():
            if unit in _OUTPUT:
                output_tokens += quantity
            elif unit in _INPUT:
                input_tokens += quantity
                if unit in _CACHED:
                    cached_tokens += quantity
        return input_tokens, cached_tokens, output_tokens

    def _totals_with_parts(self) -> tuple[int, int, int]:
        shares = [Usage(units).totals() for units in (self.units, *(part.units for part in self.parts))]
        input_tokens, cached_tokens, output_tokens = map(sum, zip(*shares, strict=True))
        return input_tokens, cached_tokens, output_tokens
