"""Which price item holds for a quantity: a total order, so that no two items of a version ever compete.

1. Service tier and processing are conditions: a token class takes items of exactly what was served and how it was
   processed. A counted thing without an item there takes the tier's standard one: the same processing in the standard
   tier, then neither (tool fees do not vary with the tier).
2. The exact variant of the unit (images/1024x1024/high) before the unit's price for any.
3. An item whose window of the UTC day holds the minute of the start before the one for all day.
4. The highest cliff that the whole input exceeds.
5. The item with the smaller id: only where a version says the same thing twice, which nothing here writes.
A token class that has found nothing by then asks for its `fallback` (pricing/units.py), from 2 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pricing.price import PriceItem, PriceVersion
from pricing.units import UNITS

MINUTES_PER_DAY = 1440


class Circumstances(NamedTuple):
    """Of one attempt, as far as prices depend on them. `minute` of the UTC day in which it started."""

    tier: str
    processing: str
    input_tokens: int
    minute: int


# By unit as usage names it (images/1024x1024/high; images: any); what is there may be applied.
Choice = dict[str, PriceItem]


def in_window(item: PriceItem, minute: int) -> bool:
    """Half-open; a window whose end is not after its start spans midnight."""
    start, end = item.from_minute, item.to_minute
    if not start and not end:
        return True
    return start <= minute < end if start < end else minute >= start or minute < end


def choices(price: PriceVersion, at: Circumstances) -> list[Choice]:
    """What holds at these circumstances; after it, what counted things fall back to, in this order."""
    asked = [(at.tier, at.processing)]
    if at.tier and at.processing:
        asked.append(("", at.processing))
    if at.tier or at.processing:
        asked.append(("", ""))
    return [_choice(price.by_condition.get(condition, ()), at) for condition in asked]


def item_for(unit: str, found: Sequence[Choice]) -> PriceItem | None:
    name = unit.partition("/")[0]
    known = UNITS.get(name)
    if known is not None and known.kind == "count":
        for choice in found:
            item = choice.get(unit) or choice.get(name)
            if item is not None:
                return item
        return None
    of_tier = found[0]
    item = of_tier.get(unit) or of_tier.get(name)
    while item is None and known is not None and known.fallback is not None:
        known = UNITS[known.fallback]
        item = of_tier.get(known.name)
    return item


def _choice(items: Iterable[PriceItem], at: Circumstances) -> Choice:
    chosen: Choice = {}
    for item in items:
        above = item.above_input_tokens
        if (above and at.input_tokens <= above) or not in_window(item, at.minute):
            continue
        key = f"{item.unit}/{item.variant}" if item.variant else item.unit
        other = chosen.get(key)
        if other is None or _rank(item) > _rank(other):
            chosen[key] = item
    return chosen


def _rank(item: PriceItem) -> tuple[bool, int, int]:
    return bool(item.from_minute or item.to_minute), item.above_input_tokens, -item.id.int
