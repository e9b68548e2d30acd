"""`Usage` × price version → lines. Exact where a price is whole pico per unit, else rounded half-even once per line.

Rating never fails and never guesses low. What it cannot price it says: `priced` is False, `why` says what is missing,
and the event's amounts are a lower bound until it is rated again. The rules (docs/decisions/0002):
- the tier that was served picks the items; one that the version does not know prices nothing, never the standard one;
- of the items of a unit the one with the highest `above_input_tokens` that the attempt's whole input exceeds: a cliff;
- a token class without an item in that tier takes its `fallback` unit's (pricing/units.py), with that unit's cliff;
- a counted thing without an item in that tier takes the standard tier's: tool fees do not vary with the tier;
- amounts beyond a bigint are not amounts: the event is unpriced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pricing.money import BIGINT_MAX, divide_half_even
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.units import UNITS
from pricing.usage import Usage

# How providers call it: OpenAI default, Anthropic and Gemini standard, Groq and Vertex on_demand; auto is a wish that
# some echo before they decide.
STANDARD_TIERS = frozenset({"", "default", "standard", "on_demand", "auto"})


class Line(NamedTuple):
    unit: str
    quantity: int
    item: PriceItem | None  # None: this line is unpriced
    list_pusd: int


class Rated(NamedTuple):
    """`list_pusd` is the sum of the lines. A quantity of 0 makes no line, nor does information that nobody pays for."""

    lines: list[Line]
    list_pusd: int
    priced: bool
    why: str | None = None  # unpriced: what is missing


def tier_name(served: str | None) -> str:
    """The name under which items are kept: '' for the standard tier, else the provider's word in lower case."""
    name = (served or "").strip().lower()
    return "" if name in STANDARD_TIERS else name


def in_force(prices: Sequence[PriceVersion], moment: datetime) -> PriceVersion | Unpriced:
    """The version whose time it is: `effective_from` inclusive, `effective_to` exclusive. Newest first wins."""
    for version in prices:
        if version.effective_from <= moment and (version.effective_to is None or moment < version.effective_to):
            return version
    return Unpriced("no price is in force" if prices else "no price is known")


def rate(usage: Usage, price: PriceVersion | Unpriced, minute: int = 0) -> Rated:
    """`minute` of the UTC day in which the request started."""
    if isinstance(price, PriceVersion) and price.plain is not None:
        rated = _rate_plainly(usage, price.plain)
        if rated is not None:
            return rated
    return _rate_by_the_rules(usage, price)


def _rate_plainly(usage: Usage, plain: Mapping[str, PriceItem]) -> Rated | None:
    """The same result where no rule has to choose, in a third of the time; None: it takes the rules."""
    if usage.service_tier is not None and tier_name(usage.service_tier):
        return None
    lines: list[Line] = []
    total = 0
    for unit, quantity in usage.units.items():
        if quantity == 0:
            continue
        item = plain.get(unit)
        if item is None or not 0 < quantity <= BIGINT_MAX:
            return None
        amount = quantity * item.price_pusd
        if item.per_units != 1:
            amount = divide_half_even(amount, item.per_units)
        lines.append(Line(unit, quantity, item, amount))
        total += amount
    return Rated(lines, total, True) if total <= BIGINT_MAX else None


def _rate_by_the_rules(usage: Usage, price: PriceVersion | Unpriced) -> Rated:
    quantities = {unit: count for unit, count in usage.units.items() if count and not _for_nothing(unit, price)}
    if any(not 0 < quantity <= BIGINT_MAX for quantity in quantities.values()):
        quantities = {unit: min(max(quantity, 0), BIGINT_MAX) for unit, quantity in quantities.items()}
        return _unpriced(quantities, "a quantity is out of range")
    if isinstance(price, Unpriced):
        return _unpriced(quantities, price.why)

    tier = tier_name(usage.service_tier)
    if tier and not any(item.service_tier == tier for item in price.items):
        return _unpriced(quantities, f"no price for service tier {tier[:40]!r}")
    input_tokens = usage.input_tokens
    standard = _applicable(price.items, "", input_tokens)
    of_tier = _applicable(price.items, tier, input_tokens) if tier else standard
    if quantities and "requests" in standard:
        quantities.setdefault("requests", 1)  # the fee of an attempt that consumed something

    lines: list[Line] = []
    missing: list[str] = []
    for unit, quantity in quantities.items():
        item = _item_for(unit, of_tier, standard)
        if item is not None:
            amount = divide_half_even(quantity * item.price_pusd, item.per_units)
            lines.append(Line(unit, quantity, item, amount))
        else:
            lines.append(Line(unit, quantity, None, 0))
            missing.append(unit)
    total = sum(line.list_pusd for line in lines)  # no line is negative: within bounds if the sum is
    if total > BIGINT_MAX:
        return _unpriced(quantities, "an amount is out of range")
    if missing:
        return Rated(lines, total, False, f"no price for {', '.join(missing)}")
    return Rated(lines, total, True)


def _item_for(unit: str, of_tier: dict[str, PriceItem], standard: dict[str, PriceItem]) -> PriceItem | None:
    known = UNITS.get(unit)
    if known is None:
        return of_tier.get(unit)
    if known.kind == "count":
        return of_tier.get(unit) or standard.get(unit)
    while known is not None:
        item = of_tier.get(known.name)
        if item is not None:
            return item
        known = UNITS[known.fallback] if known.fallback is not None else None
    return None


def _applicable(items: Iterable[PriceItem], tier: str, input_tokens: int) -> dict[str, PriceItem]:
    """By unit: the item of this tier with the highest threshold that the whole input exceeds."""
    chosen: dict[str, PriceItem] = {}
    for item in items:
        above = item.above_input_tokens
        if item.service_tier != tier or (above and input_tokens <= above):
            continue
        other = chosen.get(item.unit)
        if other is None or above > other.above_input_tokens:
            chosen[item.unit] = item
    return chosen


def _unpriced(quantities: dict[str, int], why: str) -> Rated:
    """Every quantity as a line without an amount. Nothing owed is nothing unpriced: no usage costs 0 at any price."""
    lines = [Line(unit, quantity, None, 0) for unit, quantity in quantities.items()]
    return Rated(lines, 0, not lines, why if lines else None)


def _for_nothing(unit: str, price: PriceVersion | Unpriced) -> bool:
    """Information that this price takes nothing for: no line, as rollups count it from the event itself."""
    known = UNITS.get(unit)
    if known is None or not known.information:
        return False
    return isinstance(price, Unpriced) or not any(item.unit == unit for item in price.items)
