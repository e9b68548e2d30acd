from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import BIGINT_MAX
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.price_text import read_price
from pricing.rate import Line, Rated, in_force, rate, tier_name
from pricing.units import UNITS
from pricing.usage import INPUT_UNITS, OUTPUT_UNITS, Part, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)


def version(price: dict[str, object], start: datetime = START, end: datetime | None = None) -> PriceVersion:
    items = tuple(
        PriceItem(UUID(int=number), point.unit, point.price_pusd, point.per_units, point.service_tier,
                  point.above_input_tokens)
        for number, point in enumerate(read_price(price), 1)
    )
    return PriceVersion(UUID(int=0), start, end, "test", items)


def item_of(price: PriceVersion, rated: Rated, unit: str) -> PriceItem:
    (line,) = [line for line in rated.lines if line.unit == unit]
    (item,) = [item for item in price.items if item is line.item]
    return item


GPT = version({"input": "0.15", "cache_read": "0.075", "output": "0.60", "web_searches": "0.01",
               "tiers": {"flex": {"input": "0.075", "output": "0.30"}}})
SOL = version({"input": "4", "cache_read": "0.4", "output": "20",
               "above": {"200000": {"input": "8", "cache_read": "0.8", "output": "30"}, "1000000": {"input": "9"}}})


def test_a_token_line_is_quantity_times_price() -> None:
    rated = rate(Usage({"input": 1000, "cache_read": 24, "output": 7}), GPT)
    assert [(line.unit, line.quantity, line.list_pusd) for line in rated.lines] == [
        ("input", 1000, 150_000_000), ("cache_read", 24, 1_800_000), ("output", 7, 4_200_000)]
    assert (rated.list_pusd, rated.priced, rated.why) == (156_000_000, True, None)
    assert item_of(GPT, rated, "cache_read").unit == "cache_read"


def test_an_unknown_price_is_not_zero() -> None:
    rated = rate(Usage({"input": 5, "output": 1}), Unpriced("no price is known"))
    assert (rated.priced, rated.why) == (False, "no price is known")
    assert rated.lines == [Line("input", 5, None, 0), Line("output", 1, None, 0)]


def test_a_quantity_without_an_item_makes_the_event_unpriced_and_keeps_what_is_known() -> None:
    rated = rate(Usage({"input": 10, "output_audio": 3}), GPT)
    assert not rated.priced
    assert rated.why == "no price for output_audio"
    assert [(line.unit, line.list_pusd) for line in rated.lines] == [("input", 1_500_000), ("output_audio", 0)]


def test_a_price_of_zero_is_a_price() -> None:
    rated = rate(Usage({"input": 10}), version({"input": "0"}))
    assert (rated.priced, rated.list_pusd) == (True, 0)


def test_a_unit_nobody_knows_is_unpriced() -> None:
    assert not rate(Usage({"input": 1, "telepathy": 1}), GPT).priced


@pytest.mark.parametrize("price", [GPT, Unpriced("none")])
@pytest.mark.parametrize("units", [{}, {"input": 0, "output": 0}, {"requests": 1, "errors": 1, "reasoning": 5}])
def test_nothing_owed_is_nothing_unpriced(price: PriceVersion | Unpriced, units: dict[str, int]) -> None:
    assert rate(Usage(units), price) == Rated([], 0, True, None)


# -- Fallbacks ------------------------------------------------------------------------------------------------------


def test_cached_tokens_without_a_discount_cost_what_input_costs() -> None:
    price = version({"input": "15", "output": "120"})
    rated = rate(Usage({"cache_read": 2, "input_image": 3, "cache_read_image": 4}), price)
    assert rated.priced
    assert [line.list_pusd for line in rated.lines] == [30_000_000, 45_000_000, 60_000_000]
    assert item_of(price, rated, "cache_read").unit == "input"


def test_cached_audio_without_a_price_costs_what_audio_costs() -> None:
    price = version({"input": "1", "cache_read": "0.1", "input_audio": "32"})
    assert rate(Usage({"cache_read_audio": 1}), price).list_pusd == 32_000_000


@pytest.mark.parametrize(
    "unit", ["cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h", "input_audio", "output_audio",
             "output_image", "cache_read_audio", "images", "audio_ms"]
)
def test_what_may_cost_more_than_its_neighbour_has_no_fallback(unit: str) -> None:
    rated = rate(Usage({unit: 1}), version({"input": "1", "output": "2"}))
    assert (rated.priced, rated.list_pusd) == (False, 0)


def test_fallbacks_end_and_stay_in_their_direction() -> None:
    for unit in UNITS.values():
        seen = {unit.name}
        step = unit
        while step.fallback is not None:
            step = UNITS[step.fallback]
            assert step.name not in seen
            assert step.kind == "token"
            seen.add(step.name)
        if unit.fallback is not None:
            assert seen <= set(INPUT_UNITS)


def test_totals_hold_what_other_models_consumed() -> None:
    parts = (Part("a", {"input": 40, "input_image": 60, "output_image": 9}), Part(None, {"cache_read": 5, "web_searches": 2}))
    usage = Usage({"input": 30, "cache_read": 1, "output": 9}, parts=parts)
    assert usage.totals() == (30 + 1 + 40 + 60 + 5, 1 + 5, 9 + 9)


def test_the_registry_knows_every_class_of_the_totals() -> None:
    tokens = {unit.name for unit in UNITS.values() if unit.kind == "token" and not unit.information}
    assert tokens == set(INPUT_UNITS) | set(OUTPUT_UNITS)


def test_a_fee_per_request_is_taken_once_from_an_attempt_that_consumed_something() -> None:
    price = version({"input": "1", "requests": "0.005"})
    assert rate(Usage({"input": 1}), price).list_pusd == 5_000_000_000 + 1_000_000
    assert rate(Usage({"input": 1, "requests": 1}), price).list_pusd == 5_000_000_000 + 1_000_000
    assert rate(Usage({}), price).list_pusd == 0


# -- Tiers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [None, "", "default", "standard", "on_demand", "ON_DEMAND", "auto", " Default "])
def test_the_standard_tier_has_many_names(served: str | None) -> None:
    assert rate(Usage({"input": 1}, service_tier=served), GPT).list_pusd == 150_000
    assert tier_name(served) == ""


def test_the_tier_served_sets_the_price() -> None:
    assert rate(Usage({"input": 1, "output": 1}, service_tier="flex"), GPT).list_pusd == 75_000 + 300_000


@pytest.mark.parametrize("served", ["priority", "scale", "flexx", "batch"])
def test_an_unknown_tier_is_unpriced_never_standard(served: str) -> None:
    rated = rate(Usage({"input": 1}, service_tier=served), GPT)
    assert (rated.priced, rated.list_pusd) == (False, 0)
    assert rated.why is not None
    assert served in rated.why


def test_in_a_tier_tokens_fall_back_within_the_tier_and_tool_fees_to_the_standard_one() -> None:
    rated = rate(Usage({"cache_read": 1, "web_searches": 1}, service_tier="flex"), GPT)
    assert rated.priced
    assert [line.list_pusd for line in rated.lines] == [75_000, 10_000_000_000]  # flex input, not standard cache_read


def test_in_a_tier_a_token_class_never_takes_the_standard_price() -> None:
    price = version({"input": "1", "output": "2", "tiers": {"flex": {"input": "0.5"}}})
    assert rate(Usage({"output": 1}, service_tier="flex"), price).why == "no price for output"


# -- Cliffs ---------------------------------------------------------------------------------------------------------


def test_the_whole_request_pays_the_long_context_price() -> None:
    at = rate(Usage({"input": 150_000, "cache_read": 50_000, "output": 10}), SOL)
    over = rate(Usage({"input": 150_000, "cache_read": 50_001, "output": 10}), SOL)
    assert at.list_pusd == 150_000 * 4_000_000 + 50_000 * 400_000 + 10 * 20_000_000
    assert over.list_pusd == 150_000 * 8_000_000 + 50_001 * 800_000 + 10 * 30_000_000


def test_of_several_cliffs_the_highest_that_is_exceeded() -> None:
    assert rate(Usage({"input": 1_000_001}), SOL).list_pusd == 1_000_001 * 9_000_000
    # An item that the highest cliff does not name keeps the next lower one.
    assert rate(Usage({"input": 1_000_001, "output": 1}), SOL).lines[1].list_pusd == 30_000_000


def test_writes_and_images_count_towards_the_cliff() -> None:
    price = version({"input": "1", "cache_write_1h": "2", "above": {"10": {"input": "3", "cache_write_1h": "5"}}})
    assert rate(Usage({"input": 5, "cache_write_1h": 5}), price).list_pusd == 15_000_000
    assert rate(Usage({"input": 5, "input_image": 6}), price).list_pusd == 33_000_000


def test_a_tier_has_its_own_cliff() -> None:
    price = version({"input": "2", "above": {"10": {"input": "4"}},
                     "tiers": {"flex": {"input": "1"}, "priority": {"input": "5", "above": {"10": {"input": "9"}}}}})
    assert rate(Usage({"input": 11}, service_tier="flex"), price).list_pusd == 11_000_000
    assert rate(Usage({"input": 11}, service_tier="priority"), price).list_pusd == 99_000_000


# -- Rounding and bounds --------------------------------------------------------------------------------------------


def test_a_line_that_is_not_whole_is_rounded_once_half_even() -> None:
    half = version({"input": "0.0000005", "output": "0.0000005"})
    for quantity, amount in [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)]:
        assert rate(Usage({"input": quantity}), half).list_pusd == amount
    # Each line by itself: the total of two halves is not one.
    assert rate(Usage({"input": 1, "output": 1}), half).list_pusd == 0


@pytest.mark.parametrize("units", [{"input": BIGINT_MAX}, {"input": 2**62, "output": 2**62}, {"input": 2**63},
                                   {"input": 10**30}, {"input": -1}, {"input": 5, "output": -(2**70)}])
def test_what_no_column_can_hold_is_unpriced_not_wrapped(units: dict[str, int]) -> None:
    rated = rate(Usage(units), SOL)
    assert (rated.priced, rated.list_pusd) == (False, 0)
    assert all(line.list_pusd == 0 and 0 <= line.quantity <= BIGINT_MAX for line in rated.lines)


def test_the_largest_amount_that_fits_is_an_amount() -> None:
    one = version({"images": "0.000000000001"})
    assert rate(Usage({"images": BIGINT_MAX}), one).list_pusd == BIGINT_MAX


token_units = [name for name, unit in UNITS.items() if unit.kind == "token" and not unit.information]
usages = st.dictionaries(st.sampled_from(list(UNITS)), st.integers(min_value=0, max_value=10**7)).map(Usage)
prices = st.builds(
    lambda amounts, above, pairs: PriceVersion(
        UUID(int=0), START, None, "test",
        tuple(
            PriceItem(UUID(int=number), unit, amount, per, "", start)
            for number, ((unit, amount), (start, per)) in enumerate(
                itertools.product(amounts.items(), [(0, pairs), (above, 1)]), 1)
        ),
    ),
    st.dictionaries(st.sampled_from(list(UNITS)), st.integers(min_value=0, max_value=10**9)),
    st.integers(min_value=1, max_value=10**7),
    st.sampled_from([1, 2, 3, 9, 1000]),
)


@given(usages, prices)
def test_the_total_is_the_sum_of_integer_lines(usage: Usage, price: PriceVersion) -> None:
    rated = rate(usage, price)
    assert rated.list_pusd == sum(line.list_pusd for line in rated.lines)
    for line in rated.lines:
        assert type(line.list_pusd) is int
        assert line.list_pusd >= 0
        assert (line.item is not None) or line.list_pusd == 0
    assert rated.priced == all(line.item is not None for line in rated.lines)
    assert rated.priced == (rated.why is None)


@given(usages, prices)
def test_every_line_names_the_item_it_follows_from(usage: Usage, price: PriceVersion) -> None:
    items = {item.id: item for item in price.items}
    for line in rate(usage, price).lines:
        if line.item is not None:
            item = items[line.item.id]
            exact = Fraction(line.quantity * item.price_pusd, item.per_units)
            assert abs(exact - line.list_pusd) * 2 <= 1
            assert item.above_input_tokens == 0 or usage.input_tokens > item.above_input_tokens


@given(usages, prices, st.sampled_from(list(UNITS)), st.integers(min_value=0, max_value=1000))
def test_more_of_a_unit_never_costs_less_below_the_same_cliff(
    usage: Usage, price: PriceVersion, unit: str, more: int
) -> None:
    grown = Usage({**usage.units, unit: usage.units.get(unit, 0) + more})
    starts = {item.above_input_tokens for item in price.items if item.above_input_tokens}
    if all((usage.input_tokens > start) == (grown.input_tokens > start) for start in starts):
        assert rate(grown, price).list_pusd >= rate(usage, price).list_pusd


@given(st.dictionaries(st.sampled_from([*UNITS, "unheard_of"]), st.integers(min_value=-(2**70), max_value=2**70)),
       st.sampled_from([GPT, SOL, Unpriced("none")]), st.one_of(st.none(), st.text()))
def test_rating_never_fails_and_always_fits(
    units: dict[str, int], price: PriceVersion | Unpriced, tier: str | None
) -> None:
    rated = rate(Usage(units, service_tier=tier), price)
    assert 0 <= rated.list_pusd <= BIGINT_MAX
    assert all(0 <= line.quantity <= BIGINT_MAX and 0 <= line.list_pusd <= BIGINT_MAX for line in rated.lines)


# -- Time -----------------------------------------------------------------------------------------------------------


def test_the_version_of_the_moment_is_in_force() -> None:
    change = START + timedelta(days=30)
    old, new = version({"input": "1"}, START, change), version({"input": "2"}, change)
    assert in_force((new, old), change) is new
    assert in_force((new, old), change - timedelta(microseconds=1)) is old
    assert in_force((new, old), START) is old
    assert isinstance(in_force((new, old), START - timedelta(microseconds=1)), Unpriced)
    assert isinstance(in_force((old,), change), Unpriced)
    assert isinstance(in_force((), START), Unpriced)
