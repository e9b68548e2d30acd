from __future__ import annotations

import pytest

from pricing.price_text import PricePoint, digest, read_price


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
        ({"above": {"10": {"above": {"5": {"input": "1"}}}}}, "no such unit"),
        ({"tiers": {"flex": {"tiers": {"b": {"input": "1"}}}}}, "no such unit"),
        ({"tiers": {"default": {"input": "1"}}}, "standard tier"),
        ({"tiers": {"flex": "1"}}, "tiers.flex: expected a mapping"),
        ({"tiers": {"flex": {"input": None}}}, r"tiers.flex.input: a price is text"),
        ({"audio_ms": "1/0"}, "audio_ms: a price is per one unit or more"),
        ({"audio_ms": "1/x"}, "audio_ms: 'x' is not a number of units"),
        ({"audio_ms": "1/" + "9" * 30}, "is not a number of units"),
    ],
)
def test_a_mistake_says_where_and_what_is_allowed(price: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_price(price)
