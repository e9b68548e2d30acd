"""Prices with dates: what one llm at one provider costs per unit, in integer pico-USD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class PriceItem:
    """`price_pusd` pico-USD per `per_units` units. per_units is 1 wherever the price is whole pico per unit.

    What narrows it: `variant` of the unit (1024x1024/high), tier, processing, a cliff, a window of the UTC day.
    """

    id: UUID
    unit: str
    price_pusd: int
    per_units: int = 1
    service_tier: str = ""  # "": the standard tier
    above_input_tokens: int = 0  # a cliff: applies to the whole attempt once its input exceeds this
    variant: str = ""  # "": any
    processing: str = ""  # "batch"; "": not in a batch
    from_minute: int = 0  # of the UTC day, inclusive; to_minute exclusive, and smaller where the window spans midnight
    to_minute: int = 0  # both 0: all day
    minimum_units: int = 0  # fewer are billed as so many


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """In force from `effective_from` (inclusive) to `effective_to` (exclusive; None: until further notice)."""

    id: UUID
    effective_from: datetime
    effective_to: datetime | None
    source: str  # "config", "genai-prices 0.2.3", …
    items: tuple[PriceItem, ...]
    # The standard items by unit, where none of them has to be chosen or adds what was not counted. Else None.
    plain: Mapping[str, PriceItem] | None = field(init=False, repr=False, compare=False, default=None)
    # By service tier and processing, which never mix.
    by_condition: Mapping[tuple[str, str], Sequence[PriceItem]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_condition: dict[tuple[str, str], list[PriceItem]] = {}
        for item in self.items:
            by_condition.setdefault((item.service_tier, item.processing), []).append(item)
        object.__setattr__(self, "by_condition", by_condition)
        standard = by_condition.get(("", ""), [])
        plain = {item.unit: item for item in standard}
        if len(plain) == len(standard) and all(map(_is_plain, standard)):
            object.__setattr__(self, "plain", plain)


def _is_plain(item: PriceItem) -> bool:
    narrowed = item.variant or item.above_input_tokens or item.from_minute or item.to_minute
    return not narrowed and not item.minimum_units and item.unit != "requests"


@dataclass(frozen=True, slots=True)
class Unpriced:
    """No price is known. Never zero."""

    why: str
