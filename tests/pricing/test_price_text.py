from __future__ import annotations

import pytest

from pricing.price_text import PricePoint, digest, read_price, write_price


def test_a_price_is_read_with_its_tiers_and_cliffs() -> None:
    points = read_price({
        "input": "0.15", "web_searches": "0.01", "audio_ms": "0.04/3600000",
        "above": {200000: {"input": "0.30"}},
        "tiers": {"Flex": {"input": "0.075", "above": {"200000": {"input": "0.15"}}}},
    })
    assert points == (
        PricePoint("audio_ms", 100_000, 9),
        PricePoint("input", 75_000, 1, "flex"),
        PricePoint("input", 150_000, 1),
        PricePoint("input", 150_000, 1, "flex", 200_000),
        PricePoint("input", 300_000, 1, "", 200_000),
        PricePoint("web_searches", 10_000_000_000),
    )


EVERYTHING: dict[str, object] = {
    "input": "2", "audio_ms": "0.0000001/9 min 10000", "images": {"any": "0.05", "1024x1024/high": "0.04"},
    "hours": {"16:30-00:30": {"input": "1", "above": {"10": {"input": "1.5"}}}}, "batch": {"input": "0.5"},
    "tiers": {"flex": {"input": "1", "batch": {"input": "0.25", "hours": {"05:00-06:00": {"input": "0.2"}}}}},
}


def test_every_section_is_read_and_written() -> None:
    points = read_price(EVERYTHING)
    assert write_price(points) == write_price(reversed(points)) == EVERYTHING
    assert set(points) == {
        PricePoint("input", 2_000_000), PricePoint("audio_ms", 100_000, 9, minimum_units=10_000),
        PricePoint("images", 50_000_000_000), PricePoint("images", 40_000_000_000, variant="1024x1024/high"),
        PricePoint("input", 1_000_000, from_minute=990, to_minute=30),
        PricePoint("input", 1_500_000, above_input_tokens=10, from_minute=990, to_minute=30),
        PricePoint("input", 500_000, processing="batch"), PricePoint("input", 1_000_000, service_tier="flex"),
        PricePoint("input", 250_000, service_tier="flex", processing="batch"),
        PricePoint("input", 200_000, service_tier="flex", processing="batch", from_minute=300, to_minute=360),
    }
    assert read_price({"hours": {"22:00-24:00": {"input": "1"}}}) == read_price({"hours": {"22:00-00:00": {"input": "1"}}})


def test_the_digest_is_of_what_is_charged_not_of_how_it_is_written() -> None:
    one = read_price({"input": "0.60", "output": "2"})
    assert digest(one) == digest(read_price({"output": "2.000", "input": "0.6"}))
    assert digest(one) != digest(read_price({"input": "0.61", "output": "2"}))
    assert digest(one) != digest(read_price({"input": "2", "output": "0.60"}))


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({}, "at least one unit"),
        ({"input": 0.15}, r"input: a price is text, in quotes"),
        ({"input": "free"}, r"input: not a plain decimal"),
        ({"input": "-1"}, r"input: a price is not negative"),
        ({"inptu": "1"}, r"inptu: no such unit. Units: input, cache_read"),
        ({"above": {"x": {"input": "1"}}}, "above: 'x' is not a number of input tokens"),
        ({"above": {"0": {"input": "1"}}}, "above: '0' is not"),
        ({"above": {"10": {"above": {"5": {"input": "1"}}}}}, "above.10.above: sections stand in each other in this order"),
        ({"tiers": {"flex": {"tiers": {"b": {"input": "1"}}}}}, "tiers.flex.tiers: sections stand"),
        ({"tiers": {"default": {"input": "1"}}}, "standard tier"),
        ({"tiers": {"flex": "1"}}, "tiers.flex: expected a mapping"),
        ({"tiers": {"flex": {"input": None}}}, r"tiers.flex.input: a price is text"),
        ({"batch": {"tiers": {"flex": {"input": "1"}}}}, "batch.tiers: sections stand in each other in this order"),
        ({"batch": "1"}, "batch: expected a mapping"),
        ({"hours": {"9-17": {"input": "1"}}}, "hours: '9-17' are no hours of a day in UTC"),
        ({"hours": {"24:00-01:00": {"input": "1"}}}, "hours: '24:00-01:00' are no hours"),
        ({"hours": {"00:00-24:00": {"input": "1"}}}, "hours: '00:00-24:00' is all day"),
        ({"hours": {"22:00-02:00": {"input": "1"}, "01:59-03:00": {"input": "2"}}}, "input: two of its hours overlap"),
        ({"images": {"Big": "1"}}, "images: 'Big' is no variant"),
        ({"images": {"big": 1}}, "images.big: a price is text"),
        ({"above": {10: {"input": "1"}, "10": {"input": "2"}}}, "input stands here twice"),
        ({"tiers": {"flex": {"input": "1"}, "Flex": {"input": "1"}}}, "input stands here twice"),
        ({"audio_ms": "1 min 0"}, "audio_ms: '0' is not a number of units"),
        ({"audio_ms": "1 min"}, "audio_ms: not a plain decimal"),
        ({"audio_ms": "1/0"}, "audio_ms: a price is per one unit or more"),
        ({"audio_ms": "1/x"}, "audio_ms: 'x' is not a number of units"),
        ({"audio_ms": "1/" + "9" * 30}, "is not a number of units"),
    ],
)
def test_a_mistake_says_where_and_what_is_allowed(price: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_price(price)
