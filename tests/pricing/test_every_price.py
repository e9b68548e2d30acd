"""Random usage at random prices of every dimension: the sums, the edges, and a second opinion that is written differently."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from pricing.money import BIGINT_MAX
from pricing.price import PriceItem, PriceVersion
from pricing.price_text import PricePoint, digest, read_price, write_price
from pricing.rate import Rated, rate, tier_name
from pricing.units import UNITS
from pricing.usage import INPUT_UNITS, Part, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)
TIERS, PROCESSINGS, VARIANTS = ("", "flex", "fast"), ("", "batch"), ("", "big", "big/high")
CLIFFS = (0, 100, 200_000)
# No two overlap; minute 500 is in none.
WINDOWS = ((0, 0), (1380, 30), (30, 300), (600, 601))
MINUTES = st.sampled_from(sorted({(edge + by) % 1440 for window in WINDOWS for edge in window for by in (-1, 0, 1)} | {500}))
BASES = ("input", "cache_read", "cache_write_1h", "output", "input_audio", "images", "audio_ms", "requests")
NAMES = [*BASES, "images/big", "images/big/high", "images/odd", "unheard_of", "reasoning"]

points = st.tuples(
    st.sampled_from(BASES), st.integers(0, 10**12), st.sampled_from([1, 1, 1, 3, 9, 1000]), st.sampled_from(TIERS),
    st.sampled_from(CLIFFS), st.sampled_from(VARIANTS), st.sampled_from(PROCESSINGS), st.sampled_from(WINDOWS),
    st.sampled_from([0, 0, 1, 50, 10_000]),
).map(lambda fields: PricePoint(*fields[:7], *fields[7], fields[8]))  # fmt: skip
plain_points = st.tuples(st.sampled_from(BASES), st.integers(0, 10**12), st.sampled_from([1, 1, 3])).map(
    lambda fields: PricePoint(*fields)
)


def _what(point: PricePoint) -> tuple[object, ...]:
    return point._replace(price_pusd=0, per_units=1, minimum_units=0)


# Plain ones too, which a random choice of everything would hardly ever be.
point_lists = st.lists(points, min_size=1, max_size=14, unique_by=_what) | st.lists(
    plain_points, min_size=1, max_size=8, unique_by=_what
)


def version_of(found: list[PricePoint]) -> PriceVersion:
    items = tuple(PriceItem(UUID(int=number), *point) for number, point in enumerate(found, 1))
    return PriceVersion(UUID(int=0), START, None, "test", items)


versions = point_lists.map(version_of)
quantities = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, 1, 2, 49, 50, 51, 99, 100, 101, 200_000]) | st.integers(0, 10**6))
usages = st.builds(
    Usage, quantities, service_tier=st.sampled_from([None, "default", "flex", "fast", "odd"]),
    processing=st.sampled_from(["", "", "batch"]),
)  # fmt: skip


# -- A second opinion -----------------------------------------------------------------------------------------------


def opinion(unit: str, quantity: int, usage: Usage, price: PriceVersion, minute: int) -> tuple[PriceItem, int] | None:
    """The item and the amount as the documentation says it: by elimination, with fractions."""
    name, _, variant = unit.partition("/")
    tier, total = tier_name(usage.service_tier), sum(usage.units.get(unit, 0) for unit in INPUT_UNITS)
    counted = name in UNITS and UNITS[name].kind == "count"
    narrowings = [(tier, usage.processing), ("", usage.processing), ("", "")] if counted else [(tier, usage.processing)]
    chain = [name]
    while not counted and chain[-1] in UNITS and (fallback := UNITS[chain[-1]].fallback):
        chain.append(fallback)
    for narrowing in narrowings:
        for link in chain:
            for wanted in (variant, ""):
                fit = [
                    item for item in price.items
                    if (item.service_tier, item.processing) == narrowing and (item.unit, item.variant) == (link, wanted)
                    and (item.above_input_tokens == 0 or total > item.above_input_tokens)
                    and ((item.from_minute, item.to_minute) == (0, 0) or minute in minutes_of(item))
                ]  # fmt: skip
                if fit:
                    timed = [item for item in fit if (item.from_minute, item.to_minute) != (0, 0)]
                    item = max(timed or fit, key=lambda item: item.above_input_tokens)
                    billed = max(quantity, item.minimum_units)
                    return item, round(Fraction(billed * item.price_pusd, item.per_units))  # half to even
    return None


def minutes_of(item: PriceItem) -> set[int]:
    length = (item.to_minute - item.from_minute) % 1440
    return {(item.from_minute + after) % 1440 for after in range(length)}


@given(usages, versions, MINUTES)
def test_a_second_opinion_agrees_to_the_pico(usage: Usage, price: PriceVersion, minute: int) -> None:
    rated = rate(usage, price, minute)
    narrowing = (tier_name(usage.service_tier), usage.processing)
    known = narrowing == ("", "") or any((item.service_tier, item.processing) == narrowing for item in price.items)
    for line in rated.lines:
        expected = opinion(line.unit, line.quantity, usage, price, minute) if known else None
        assert (line.item, line.list_pusd) == (expected or (None, 0))
    priced = {unit for item in price.items for unit in [item.unit]}
    owed = {unit for unit, count in usage.units.items() if count and (unit not in ("requests", "reasoning") or unit in priced)}
    assert owed <= {line.unit for line in rated.lines} <= owed | {"requests"}


# -- What holds of every bill ---------------------------------------------------------------------------------------


def checked(rated: Rated) -> None:
    assert rated.list_pusd == sum(line.list_pusd for line in rated.lines) <= BIGINT_MAX
    assert all(line.list_pusd >= 0 and line.quantity > 0 and (line.item is not None or line.list_pusd == 0) for line in rated.lines)
    assert rated.priced == all(line.item is not None for line in rated.lines) == (rated.why is None)


@given(usages, versions, MINUTES)
def test_lines_add_up_and_none_is_negative(usage: Usage, price: PriceVersion, minute: int) -> None:
    checked(rate(usage, price, minute))


@given(usages, versions, versions, st.lists(st.tuples(st.sampled_from(["a", "b", None]), quantities), max_size=3), MINUTES)
def test_parts_are_bills_of_their_own(
    usage: Usage, price: PriceVersion, other: PriceVersion, parts: list[tuple[str | None, dict[str, int]]], minute: int
) -> None:
    by_model = {"a": other, "b": price}
    rated = rate(replace(usage, parts=tuple(Part(*part) for part in parts)), price, minute, by_model.__getitem__)
    checked(rated)
    alone = [
        rate(replace(usage, units=units), by_model[model], minute).list_pusd for model, units in parts if model is not None
    ]
    fees = [line.list_pusd for line in rated.lines if line.unit == "requests"]
    if not fees and not any(item.unit == "requests" for found in (price, other) for item in found.items):
        assert rated.list_pusd == rate(usage, price, minute).list_pusd + sum(alone)


@given(usages, versions, st.sampled_from(NAMES), st.integers(0, 1000), MINUTES)
def test_more_never_costs_less_below_the_same_cliff(
    usage: Usage, price: PriceVersion, unit: str, more: int, minute: int
) -> None:
    grown = replace(usage, units={**usage.units, unit: usage.units.get(unit, 0) + more})
    if all((usage.input_tokens > start) == (grown.input_tokens > start) for start in CLIFFS):
        assert rate(grown, price, minute).list_pusd >= rate(usage, price, minute).list_pusd


@given(usages, versions, MINUTES)
def test_the_plain_path_is_the_rules(usage: Usage, price: PriceVersion, minute: int) -> None:
    by_rules = replace(price)
    object.__setattr__(by_rules, "plain", None)
    assert rate(usage, price, minute) == rate(usage, by_rules, minute)


@given(usages, versions, MINUTES, st.randoms())
def test_the_order_of_the_items_does_not_matter(usage: Usage, price: PriceVersion, minute: int, dice: object) -> None:
    items = list(price.items)
    dice.shuffle(items)  # type: ignore[attr-defined]  # a random.Random
    assert rate(usage, price, minute) == rate(usage, replace(price, items=tuple(items)), minute)


@given(usages, versions, MINUTES)
def test_a_tier_or_a_batch_never_takes_a_token_price_from_elsewhere(usage: Usage, price: PriceVersion, minute: int) -> None:
    narrowing = (tier_name(usage.service_tier), usage.processing)
    for line in rate(usage, price, minute).lines:
        if line.item is not None and (line.item.service_tier, line.item.processing) != narrowing:
            assert UNITS[line.item.unit].kind == "count"
            assert (line.item.service_tier, line.item.processing) in (("", usage.processing), ("", ""))


@given(st.integers(1, 10**7), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cliff_is_at_the_exact_token(start: int, below: int, above: int) -> None:
    price = version_of([PricePoint("input", below), PricePoint("input", above, above_input_tokens=start)])
    assert rate(Usage({"input": start}), price).list_pusd == start * below
    assert rate(Usage({"input": start + 1}), price).list_pusd == (start + 1) * above


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_is_at_the_exact_minute(start: int, length: int, minute: int) -> None:
    end = (start + length) % 1440
    if start != end:
        price = version_of([PricePoint("input", 2), PricePoint("input", 1, from_minute=start, to_minute=end)])
        inside = (minute - start) % 1440 < length
        assert rate(Usage({"input": 1}), price, minute).list_pusd == (1 if inside else 2)


# -- As text --------------------------------------------------------------------------------------------------------


@given(point_lists)
def test_what_is_written_is_read_back(found: list[PricePoint]) -> None:
    # As read_price has them: in lowest terms, a variant of every unit, what is a window as it stands there.
    lowest = [point._replace(price_pusd=(price := Fraction(point.price_pusd, point.per_units)).numerator, per_units=price.denominator)
              for point in found]  # fmt: skip
    written = write_price(lowest)
    assert read_price(written) == tuple(sorted(lowest))
    assert digest(read_price(written)) == digest(tuple(lowest))
    assert write_price(read_price(written)) == written


@given(st.integers(0, BIGINT_MAX), st.integers(1, BIGINT_MAX), st.sampled_from(["input", "audio_ms"]), st.integers(0, 10**18 - 1))
def test_any_amount_can_be_written(pusd: int, per: int, unit: str, least: int) -> None:
    price = Fraction(pusd, per)
    point = PricePoint(unit, price.numerator, price.denominator, minimum_units=least)
    assert read_price(write_price([point])) == (point,)
