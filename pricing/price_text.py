"""A price as people write it (config.yaml, the price book) → price points, and back.

{input: "0.15", cache_read: "0.075", output: "0.60", web_searches: "0.01",
 above: {200000: {input: "0.30"}},                     # a cliff: the whole attempt, once its input exceeds this
 hours: {"16:30-00:30": {input: "0.10"}},              # UTC, by the start of the attempt; the end is not included
 batch: {input: "0.075", output: "0.30"},
 tiers: {flex: {input: "0.075", output: "0.30"}},      # by the service tier that was served
 images: {"1024x1024/high": "0.167", any: "0.04"},     # by variant of the unit; any: the others
 audio_ms: "0.04/3600000 min 10000"}                   # at least so many are billed

USD per million for token classes, per thing for counted units; "0.04/3600000" is 0.04 USD per 3,600,000 of either.
Sections nest in this order: tiers, batch, hours, above. Each has its own cliffs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from pricing.choice import MINUTES_PER_DAY
from pricing.money import BIGINT_MAX, PUSD_PER_USD, price_fraction
from pricing.rate import tier_name
from pricing.units import UNITS

ANY = "any"
SECTIONS = ("tiers", "batch", "hours", "above")
# As the readers of answers name sizes and qualities.
_VARIANT = re.compile(r"[a-z0-9][a-z0-9.\-]*(/[a-z0-9][a-z0-9.\-]*)*")
_VARIANT_MAX = 80
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_PLACES = 18  # as many as pricing.money reads
_PER_DIGITS = len(str(BIGINT_MAX))


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


class _Place(NamedTuple):
    """Where in a price: what narrows the units that stand there. `depth` in `SECTIONS`; `path` for messages."""

    depth: int = 0
    path: str = ""
    tier: str = ""
    processing: str = ""
    hours: tuple[int, int] = (0, 0)
    above: int = 0


def read_price(price: Mapping[str, object]) -> tuple[PricePoint, ...]:
    """Sorted, so that equal prices are equal tuples. Raises ValueError that says where and what is allowed."""
    points = sorted(_read(price, _Place()))
    if not points:
        raise ValueError("a price names at least one unit")
    _no_two_for_one(points)
    return tuple(points)


def write_price(points: Iterable[PricePoint]) -> dict[str, object]:
    """In the form that `read_price` reads back to the same points, units in the order of the registry."""
    order = {unit: number for number, unit in enumerate(UNITS)}
    written: dict[str, object] = {}
    for point in sorted(points, key=lambda point: (_narrowing(point), order.get(point.unit, len(order)), point.unit, point.variant)):
        at = written
        if point.service_tier:
            at = _inner(at, "tiers", point.service_tier)
        if point.processing:
            at = _inner(at, point.processing)
        if point.from_minute or point.to_minute:
            at = _inner(at, "hours", hours_text(point.from_minute, point.to_minute))
        if point.above_input_tokens:
            at = _inner(at, "above", str(point.above_input_tokens))
        if point.variant:
            at, key = _variants(at, point.unit), point.variant
        else:
            key = point.unit
        at[key] = amount_text(point)
    return written


def digest(points: tuple[PricePoint, ...]) -> str:
    """Of what is charged, not of how it is written: '0.60' and '0.6' are one price."""
    text = "\n".join("|".join(map(str, point)) for point in sorted(points))
    return sha256(text.encode()).hexdigest()


def hours_text(from_minute: int, to_minute: int) -> str:
    return "-".join(f"{minute // 60 % 24:02}:{minute % 60:02}" for minute in (from_minute, to_minute))


def amount_text(point: PricePoint) -> str:
    """'0.15': USD per million tokens or per thing; '0.0000001/9': per so many; ' min 10000' after it: at least so many."""
    scaled = Fraction(point.price_pusd * _per(point.unit) * 10**_PLACES, PUSD_PER_USD * point.per_units)
    if scaled.denominator == 1:
        text = _decimal(scaled.numerator)
    else:
        text = f"{_decimal(point.price_pusd * 10**_PLACES // PUSD_PER_USD)}/{point.per_units}"
    return f"{text} min {point.minimum_units}" if point.minimum_units else text


def _per(unit: str) -> int:
    """Units that left the registry were counted things or are told as such: items of old prices name them still."""
    return 10**6 if unit in UNITS and UNITS[unit].kind == "token" else 1


def _decimal(scaled: int) -> str:
    whole, part = divmod(scaled, 10**_PLACES)
    return f"{whole}.{part:0{_PLACES}d}".rstrip("0").rstrip(".")


def _inner(at: dict[str, object], *names: str) -> dict[str, object]:
    for name in names:
        inner = at.setdefault(name, {})
        assert isinstance(inner, dict)  # a section; units have other names
        at = inner
    return at


def _variants(at: dict[str, object], unit: str) -> dict[str, object]:
    """The mapping of a unit by variant; a price for any that stands there already moves into it."""
    standing = at.get(unit)
    if isinstance(standing, str):
        at[unit] = {ANY: standing}
    return _inner(at, unit)


def _narrowing(point: PricePoint) -> tuple[object, ...]:
    """Units without a section first, then sections in the order in which people read them."""
    return (
        point.service_tier != "", point.service_tier, point.processing, point.from_minute or point.to_minute,
        point.from_minute, point.above_input_tokens,
    )  # fmt: skip


# -- Reading --------------------------------------------------------------------------------------------------------


def _read(price: Mapping[str, object], at: _Place) -> Iterator[PricePoint]:
    for key, value in price.items():
        path = f"{at.path}{key}"
        if key in SECTIONS[at.depth :]:
            for inside, part in _section(key, value, at):
                yield from _read(part, inside)
        elif key in SECTIONS:
            raise ValueError(f"{path}: sections stand in each other in this order: {', '.join(SECTIONS)}")
        elif key not in UNITS:
            raise ValueError(f"{path}: no such unit. Units: {', '.join(UNITS)}")
        elif isinstance(value, Mapping):
            for name, amount in value.items():
                yield _point(key, _variant(name, path), amount, f"{path}.{name}", at)
        else:
            yield _point(key, "", value, path, at)


def _section(key: str, value: object, at: _Place) -> Iterator[tuple[_Place, Mapping[str, object]]]:
    path = f"{at.path}{key}"
    inside = at._replace(depth=SECTIONS.index(key) + 1)
    if key == "batch":
        yield inside._replace(processing="batch", path=f"{path}."), _mapping(value, path, "of units to prices")
        return
    for name, part in _mapping(value, path).items():
        units = _mapping(part, f"{path}.{name}", "of units to prices")
        here = inside._replace(path=f"{path}.{name}.")
        if key == "tiers":
            if not tier_name(str(name)):
                raise ValueError(f"{path}: {name!r} is the standard tier: write its prices one level up")
            yield here._replace(tier=tier_name(str(name))), units
        elif key == "hours":
            yield here._replace(hours=_window(str(name), path)), units
        else:
            yield here._replace(above=_count(str(name), path, "a number of input tokens")), units


def _mapping(value: object, path: str, what: str = "") -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: expected a mapping{' ' if what else ''}{what}")
    return value


def _window(text: str, path: str) -> tuple[int, int]:
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"{path}: {text[:40]!r} are no hours of a day in UTC, such as \"16:30-00:30\"")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3] or 0) * 60 + int(match[4] or 0)
    if start == end:
        raise ValueError(f"{path}: {text!r} is all day: write its prices one level up")
    return start, end


def _variant(name: object, path: str) -> str:
    text = str(name)
    if text == ANY:
        return ""
    if len(text) > _VARIANT_MAX or not _VARIANT.fullmatch(text):
        raise ValueError(f"{path}: {text[:40]!r} is no variant, such as \"1024x1024/high\" in small letters, or \"{ANY}\"")
    return text


def _point(unit: str, variant: str, value: object, path: str, at: _Place) -> PricePoint:
    pusd, per, minimum = _amount(unit, value, path)
    return PricePoint(unit, pusd, per, at.tier, at.above, variant, at.processing, *at.hours, minimum)


def _amount(unit: str, value: object, path: str) -> tuple[int, int, int]:
    if not isinstance(value, str):
        raise ValueError(f"{path}: a price is text, in quotes, such as \"0.15\"; got {type(value).__name__}")
    value, has_minimum, least = value.partition(" min ")
    text, slash, per = value.partition("/")
    minimum = _count(least, path, "a number of units") if has_minimum else 0
    try:
        if not slash:
            return *price_fraction(text, _per(unit)), minimum
        if not (per.isascii() and per.isdigit() and len(per) <= _PER_DIGITS):
            raise ValueError(f"{per[:40]!r} is not a number of units")
        return *price_fraction(text, int(per)), minimum
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _count(text: str, path: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _PER_DIGITS and int(text) > 0):
        raise ValueError(f"{path}: {text[:40]!r} is not {what}")
    return int(text)


def _no_two_for_one(points: Iterable[PricePoint]) -> None:
    """No quantity has two prices: nothing twice, and no minute in two windows."""
    windows: defaultdict[tuple[str, str, str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for point in points:
        key = (point.unit, point.variant, point.service_tier, point.processing, point.above_input_tokens)
        window = (point.from_minute, point.to_minute)
        if window in windows[key]:
            raise ValueError(f"{_named(point)} stands here twice")
        windows[key].append(window)
    for key, found in windows.items():
        pieces = sorted(piece for window in found if window != (0, 0) for piece in _pieces(*window))
        if any(start < end for (_, end), (start, _) in pairwise(pieces)):
            raise ValueError(f"{key[0]}: two of its hours overlap")


def _pieces(start: int, end: int) -> list[tuple[int, int]]:
    return [(start, end)] if start < end else [(0, end), (start, MINUTES_PER_DAY)]


def _named(point: PricePoint) -> str:
    return f"{point.unit}/{point.variant}" if point.variant else point.unit
