"""A price as people write it (config.yaml, the price book) → price points.

    {input: "0.15", cache_read: "0.075", output: "0.60", web_searches: "0.01",
     above: {200000: {input: "0.30"}}, tiers: {flex: {input: "0.075", output: "0.30"}}}

USD per million for token classes, per thing for counted units; "0.04/3600000" is 0.04 USD per 3,600,000 of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from pricing.money import price_fraction
from pricing.rate import tier_name
from pricing.units import UNITS


class PricePoint(NamedTuple):
    """A price item that has no id yet. Fields as in `PriceItem`."""

    unit: str
    price_pusd: int
    per_units: int = 1
    service_tier: str = ""
    above_input_tokens: int = 0
    variant: str = ""
    processing: str = ""
    from_minute: int = 0
    to_minute: int = 0
    minimum_units: int = 0


def read_price(price: Mapping[str, object]) -> tuple[PricePoint, ...]:
    """Sorted, so that equal prices are equal tuples. Raises ValueError that says where and what is allowed."""
    points = sorted(_read(price, tier="", above=0, where=""))
    if not points:
        raise ValueError("a price names at least one unit")
    return tuple(points)


def digest(points: tuple[PricePoint, ...]) -> str:
    """Of what is charged, not of how it is written: '0.60' and '0.6' are one price."""
    text = "\n".join("|".join(map(str, point)) for point in sorted(points))
    return sha256(text.encode()).hexdigest()


def _read(price: Mapping[str, object], *, tier: str, above: int, where: str) -> Iterator[PricePoint]:
    for key, value in price.items():
        path = f"{where}{key}"
        if key == "above" and not above:
            for start, part in _section(value, path):
                yield from _read(part, tier=tier, above=_threshold(start, path), where=f"{path}.{start}.")
        elif key == "tiers" and not tier and not above:
            for name, part in _section(value, path):
                if not tier_name(name):
                    raise ValueError(f"{path}: {name!r} is the standard tier: write its prices one level up")
                yield from _read(part, tier=tier_name(name), above=0, where=f"{path}.{name}.")
        elif key not in UNITS:
            raise ValueError(f"{path}: no such unit. Units: {', '.join(UNITS)}")
        else:
            yield PricePoint(key, *_amount(key, value, path), service_tier=tier, above_input_tokens=above)


def _section(value: object, path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: expected a mapping")
    for name, part in value.items():
        if not isinstance(part, Mapping):
            raise ValueError(f"{path}.{name}: expected a mapping of units to prices")
        yield str(name), part


def _threshold(text: str, path: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise ValueError(f"{path}: {text[:40]!r} is not a number of input tokens")
    return int(text)


def _amount(unit: str, value: object, path: str) -> tuple[int, int]:
    if not isinstance(value, str):
        raise ValueError(f"{path}: a price is text, in quotes, such as \"0.15\"; got {type(value).__name__}")
    text, slash, per = value.partition("/")
    try:
        if not slash:
            return price_fraction(text, 10**6 if UNITS[unit].kind == "token" else 1)
        if not (per.isascii() and per.isdigit() and len(per) < 19):
            raise ValueError(f"{per[:40]!r} is not a number of units")
        return price_fraction(text, int(per))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
