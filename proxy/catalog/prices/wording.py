"""How parts of a price are said to people."""

from __future__ import annotations

from pricing.price_text import PricePoint, hours_text
from pricing.units import UNITS


def is_per_million(unit: str) -> bool:
    """As providers publish it: tokens per million of them, counted things by one."""
    return unit in UNITS and UNITS[unit].kind == "token"


def hours_of(point: PricePoint) -> str | None:
    """'16:30-00:30' of the UTC day; None: all day."""
    if not point.from_minute and not point.to_minute:
        return None
    return hours_text(point.from_minute, point.to_minute)
