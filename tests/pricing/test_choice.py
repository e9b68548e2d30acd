"""Every dimension of a price, by example: which item holds, and what it comes to."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from pricing.choice import in_window
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.price_text import read_price
from pricing.rate import rate
from pricing.usage import Part, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)


def version(price: dict[str, object]) -> PriceVersion:
    items = tuple(PriceItem(UUID(int=number), *point) for number, point in enumerate(read_price(price), 1))
    return PriceVersion(UUID(int=0), START, None, "test", items)


def at(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


# -- Batch ----------------------------------------------------------------------------------------------------------

HALF = version({"input": "2", "cache_read": "0.2", "output": "8", "web_searches": "0.01",
                "batch": {"input": "1", "output": "4"}, "tiers": {"flex": {"input": "1.5", "batch": {"input": "0.5"}}}})


def test_a_batch_is_priced_by_its_own_items() -> None:
    assert rate(Usage({"input": 3, "output": 2}, processing="batch"), HALF).list_pusd == 3_000_000 + 8_000_000
    assert rate(Usage({"input": 3, "output": 2}), HALF).list_pusd == 6_000_000 + 16_000_000


def test_in_a_batch_tokens_fall_back_within_the_batch_and_tool_fees_to_the_standard_price() -> None:
    rated = rate(Usage({"cache_read": 1, "web_searches": 1}, processing="batch"), HALF)
    assert [line.list_pusd for line in rated.lines] == [1_000_000, 10_000_000_000]  # batch input, not standard cache_read


@pytest.mark.parametrize("price", [{"input": "2", "output": "8"}, {"input": "0"}, {"input": "9", "tiers": {"batch": {"input": "1"}}}])
def test_a_batch_without_a_price_is_unpriced_never_standard(price: dict[str, object]) -> None:
    rated = rate(Usage({"input": 1}, processing="batch"), version(price))
    assert (rated.priced, rated.list_pusd, rated.why) == (False, 0, "no price for batch")


def test_a_tier_in_a_batch_is_neither_the_tier_nor_the_batch() -> None:
    assert rate(Usage({"input": 1}, service_tier="flex", processing="batch"), HALF).list_pusd == 500_000
    rated = rate(Usage({"input": 1}, service_tier="fast", processing="batch"), HALF)
    assert (rated.priced, rated.why) == (False, "no price for service tier 'fast' in batch")


def test_a_counted_thing_of_a_tier_in_a_batch_takes_the_batch_before_the_standard_price() -> None:
    price = version({"input": "1", "pages": "0.004", "batch": {"pages": "0.002"}, "tiers": {"flex": {"batch": {"input": "1"}}}})
    assert rate(Usage({"pages": 1}, service_tier="flex", processing="batch"), price).list_pusd == 2_000_000_000


# -- Hours ----------------------------------------------------------------------------------------------------------

NIGHTLY = version({"input": "2", "output": "8", "above": {"100": {"input": "4"}},
                   "hours": {"16:30-00:30": {"input": "1", "above": {"100": {"input": "3"}}}, "05:00-06:00": {"input": "5"}}})


@pytest.mark.parametrize(
    ("clock", "pusd"),
    [("16:29", 2), ("16:30", 1), ("23:59", 1), ("00:00", 1), ("00:29", 1), ("00:30", 2), ("04:59", 2), ("05:00", 5),
     ("05:59", 5), ("06:00", 2), ("12:00", 2)],
)  # fmt: skip
def test_a_window_holds_from_its_first_minute_to_before_its_last(clock: str, pusd: int) -> None:
    assert rate(Usage({"input": 7}), NIGHTLY, at(clock)).list_pusd == 7 * pusd * 10**6
    assert rate(Usage({"output": 7}), NIGHTLY, at(clock)).list_pusd == 7 * 8 * 10**6  # what a window does not name


def test_a_window_has_its_own_cliff_and_goes_before_that_of_all_day() -> None:
    assert rate(Usage({"input": 101}), NIGHTLY, at("12:00")).list_pusd == 101 * 4 * 10**6
    assert rate(Usage({"input": 101}), NIGHTLY, at("20:00")).list_pusd == 101 * 3 * 10**6
    assert rate(Usage({"input": 101}), NIGHTLY, at("05:30")).list_pusd == 101 * 5 * 10**6


def test_a_price_of_some_hours_only_is_no_price_at_others() -> None:
    price = version({"output": "1", "hours": {"08:00-20:00": {"input": "1"}}})
    assert rate(Usage({"input": 1}), price, at("08:00")).priced
    assert not rate(Usage({"input": 1}), price, at("20:00")).priced


def test_every_minute_is_in_a_window_or_in_its_complement() -> None:
    for start, end in [(1, 1439), (0, 1), (1439, 0), (990, 30), (0, 1440), (600, 601)]:
        inside = {minute for minute in range(1440) if in_window(PriceItem(UUID(int=1), "input", 1, 1, "", 0, "", "", start, end), minute)}
        assert len(inside) == (end - start) % 1440 or (start, end) == (0, 1440)
        assert (start in inside) and (end % 1440 not in inside or (start, end) == (0, 1440))


# -- Variants -------------------------------------------------------------------------------------------------------

IMAGES = version({"images": {"1024x1024/high": "0.167", "1024x1024": "0.05", "any": "0.04"}})


@pytest.mark.parametrize(
    ("unit", "pusd"),
    [("images/1024x1024/high", 167), ("images/1024x1024", 50), ("images/1024x1024/low", 40), ("images/9x9", 40), ("images", 40)],
)
def test_the_exact_variant_goes_before_the_price_for_any(unit: str, pusd: int) -> None:
    rated = rate(Usage({unit: 2}), IMAGES)
    assert [(line.unit, line.quantity, line.list_pusd) for line in rated.lines] == [(unit, 2, 2 * pusd * 10**9)]


@pytest.mark.parametrize("unit", ["images/1024x1024/low", "images/1024x1024", "images", "images/", "images/1024x1024/high/x"])
def test_a_variant_without_a_price_is_unpriced(unit: str) -> None:
    rated = rate(Usage({unit: 1, "input": 1}), version({"input": "1", "images": {"1024x1024/high": "0.167"}}))
    assert (rated.priced, rated.list_pusd, rated.why) == (False, 1_000_000, f"no price for {unit}")


# -- Minimum --------------------------------------------------------------------------------------------------------


def test_fewer_than_the_minimum_are_billed_as_the_minimum_and_counted_as_they_were() -> None:
    price = version({"audio_ms": "0.04/3600000 min 10000"})
    for audio_ms, pusd in [(0, 0), (1, 111_111_111), (10_000, 111_111_111), (10_001, 111_122_222)]:
        rated = rate(Usage({"audio_ms": audio_ms}), price)
        assert rated.list_pusd == pusd
        assert [line.quantity for line in rated.lines] == [audio_ms] * bool(audio_ms)


def test_a_minimum_beyond_what_a_column_holds_is_unpriced() -> None:
    item = PriceItem(UUID(int=1), "images", 2, minimum_units=2**63 - 1)
    rated = rate(Usage({"images": 1}), PriceVersion(UUID(int=0), START, None, "test", (item,)))
    assert (rated.priced, rated.why) == (False, "an amount is out of range")


# -- Parts ----------------------------------------------------------------------------------------------------------


def test_a_part_is_priced_by_its_own_model() -> None:
    own, other = version({"input": "1"}), version({"input": "5", "above": {"10": {"input": "6"}}, "requests": "9"})
    usage = Usage({"input": 20}, parts=(Part("helper", {"input": 10}), Part("helper", {"input": 11})))
    rated = rate(usage, own, price_of={"helper": other}.__getitem__)
    assert [(line.quantity, line.list_pusd) for line in rated.lines] == [(20, 20_000_000), (10, 50_000_000), (11, 66_000_000)]
    assert [line.item in other.items for line in rated.lines] == [False, True, True]
    assert rated.list_pusd == 136_000_000  # a cliff by the part's own input; no fee per request for a part


def test_a_part_of_a_model_without_a_price_is_unpriced_and_says_which() -> None:
    usage = Usage({"input": 1}, parts=(Part("helper", {"input": 2}), Part(None, {"output": 3})))
    rated = rate(usage, version({"input": "1"}))
    assert not rated.priced
    assert rated.why == "no price is known for helper; the provider does not say which model it was"
    assert [(line.quantity, line.list_pusd) for line in rated.lines] == [(1, 1_000_000), (2, 0), (3, 0)]


def test_a_part_is_served_at_the_tier_of_the_attempt() -> None:
    usage = Usage({"input": 1}, service_tier="flex", parts=(Part("helper", {"input": 1}),))
    price = version({"input": "1", "tiers": {"flex": {"input": "0.5"}}})
    assert rate(usage, price, price_of=lambda _: price).list_pusd == 1_000_000
    assert not rate(usage, price, price_of=lambda _: version({"input": "1"})).priced


def test_an_absurd_part_makes_the_whole_attempt_unpriced() -> None:
    usage = Usage({"input": 1}, parts=(Part("helper", {"input": 2**63}), Part("helper", {"input": -1})))
    rated = rate(usage, version({"input": "1"}), price_of=lambda _: version({"input": "1"}))
    assert (rated.priced, rated.list_pusd, rated.why) == (False, 0, "a quantity is out of range")
    assert [line.quantity for line in rated.lines] == [1, 2**63 - 1, 0]


def test_a_part_alone_takes_the_fee_of_the_request() -> None:
    usage = Usage(parts=(Part("helper", {"input": 1}),))
    rated = rate(usage, version({"requests": "0.5"}), price_of=lambda _: Unpriced("none"))
    assert [(line.unit, line.list_pusd) for line in rated.lines] == [("requests", 5 * 10**11), ("input", 0)]
