"""`Usage` × price version → lines. Exact where a price is whole pico per unit, else rounded half-even once per line.

Rating never fails and never guesses low. What it cannot price it says: `priced` is False, `why` says what is missing,
and the event's amounts are a lower bound until it is rated again. The rules (docs/decisions/0002, 0008):
- which item prices a quantity: pricing/choice.py, a total order;
- a tier that was served, a batch, that the version has no item for prices nothing, never at the standard price;
- a quantity below an item's minimum is billed as the minimum; the line says what was counted;
- what another model consumed inside the attempt (`Usage.parts`) is priced by that model's version, by itself;
- amounts beyond a bigint are not amounts: the event is unpriced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from pricing.choice import Circumstances, choices, item_for
from pricing.money import BIGINT_MAX, divide_half_even
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.units import UNITS
from pricing.usage import Usage

# How providers call it: OpenAI default, Anthropic and Gemini standard, Groq and Vertex on_demand; auto is a wish that
# some echo before they decide.
STANDARD_TIERS = frozenset({"", "default", "standard", "on_demand", "auto"})

Price: TypeAlias = PriceVersion | Unpriced
# The price of another model at the same provider, at the moment of the attempt.
PriceOf: TypeAlias = Callable[[str], Price]
Quantities: TypeAlias = dict[str, int]


class Line(NamedTuple):
    """`list_pusd` = max(quantity, item.minimum_units) × item.price_pusd / item.per_units, half-even. `quantity` is what
    was counted. A unit may be in several lines, of several models: `item` tells which version, so which model's.
    """

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


def no_price_of(model: str) -> Price:
    return Unpriced(f"no price is known for {model[:100]}")


def rate(usage: Usage, price: Price, minute: int = 0, price_of: PriceOf = no_price_of) -> Rated:
    """`minute` of the UTC day in which the request started. `price_of`: for what other models consumed."""
    if isinstance(price, PriceVersion) and price.plain is not None:
        rated = _rate_plainly(usage, price.plain)
        if rated is not None:
            return rated
    return _rate_by_the_rules(usage, price, minute, price_of)


def amount_pusd(quantity: int, item: PriceItem) -> int:
    return divide_half_even(max(quantity, item.minimum_units) * item.price_pusd, item.per_units)


def _rate_plainly(usage: Usage, plain: Mapping[str, PriceItem]) -> Rated | None:
    """The same result where no rule has to choose, in a third of the time; None: it takes the rules."""
    if usage.parts or usage.processing or (usage.service_tier is not None and tier_name(usage.service_tier)):
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


def _rate_by_the_rules(usage: Usage, price: Price, minute: int, price_of: PriceOf) -> Rated:
    shares = list(_shares(usage, price, price_of))
    if any(not 0 < quantity <= BIGINT_MAX for quantities, _ in shares for quantity in quantities.values()):
        return _unpriced([line for quantities, _ in shares for line in _bare(quantities)], "a quantity is out of range")

    lines: list[Line] = []
    missing: list[str] = []
    is_fee_due = any(quantities for quantities, _ in shares)
    tier = tier_name(usage.service_tier)
    for quantities, its_price in shares:
        # A cliff looks at the input of its own model.
        at = Circumstances(tier, usage.processing, Usage(quantities).input_tokens, minute)
        found, why = _lines(quantities, its_price, at, is_fee_due=is_fee_due)
        lines += found
        missing += why
        is_fee_due = False  # a part is no request
    total = sum(line.list_pusd for line in lines)  # no line is negative: within bounds if the sum is
    if total > BIGINT_MAX:
        return _unpriced([line._replace(item=None, list_pusd=0) for line in lines], "an amount is out of range")
    return Rated(lines, total, not missing, "; ".join(dict.fromkeys(missing)) or None)


def _shares(usage: Usage, price: Price, price_of: PriceOf) -> Iterable[tuple[Quantities, Price]]:
    """What was consumed at whose price: the model's own first, then a part each."""
    yield _owed(usage.units, price), price
    for part in usage.parts:
        if part.model is None:
            its_price: Price = Unpriced("the provider does not say which model it was")
        else:
            its_price = price_of(part.model)
        yield _owed(part.units, its_price), its_price


def _lines(
    quantities: Quantities, price: Price, at: Circumstances, *, is_fee_due: bool
) -> tuple[list[Line], list[str]]:
    """With what is missing."""
    if isinstance(price, Unpriced):
        return _bare(quantities), [price.why] if quantities else []
    if (at.tier or at.processing) and (at.tier, at.processing) not in price.by_condition:
        return _bare(quantities), [f"no price for {_as_processed(at)}"] if quantities else []
    found = choices(price, at)
    if is_fee_due and item_for("requests", found) is not None:
        quantities.setdefault("requests", 1)  # the fee of an attempt that consumed something
    lines: list[Line] = []
    missing: list[str] = []
    for unit, quantity in quantities.items():
        item = item_for(unit, found)
        if item is None:
            missing.append(unit)
        lines.append(Line(unit, quantity, item, 0 if item is None else amount_pusd(quantity, item)))
    return lines, [f"no price for {', '.join(missing)}"] if missing else []


def _as_processed(at: Circumstances) -> str:
    words = [f"service tier {at.tier[:40]!r}"] if at.tier else []
    return " in ".join([*words, at.processing] if at.processing else words)


def _bare(quantities: Quantities) -> list[Line]:
    return [Line(unit, quantity, None, 0) for unit, quantity in quantities.items()]


def _unpriced(lines: list[Line], why: str) -> Rated:
    """Every quantity as a line without an amount, within what a column holds."""
    return Rated([line._replace(quantity=min(max(line.quantity, 0), BIGINT_MAX)) for line in lines], 0, False, why)


def _owed(units: Mapping[str, int], price: Price) -> Quantities:
    return {unit: count for unit, count in units.items() if count and not _for_nothing(unit, price)}


def _for_nothing(unit: str, price: Price) -> bool:
    """Information that this price takes nothing for: no line, as rollups count it from the event itself."""
    known = UNITS.get(unit)
    if known is None or not known.information:
        return False
    return isinstance(price, Unpriced) or not any(item.unit == unit for item in price.items)
