from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import (
    BIGINT_MAX,
    ceil_nusd,
    divide_half_even,
    format_usd,
    parse_usd,
    price_fraction,
    usd_to_pusd_per_unit,
)


@pytest.mark.parametrize(
    ("text", "per", "price"),
    [
        ("0.15", "million", (150_000, 1)),
        ("10", "million", (10_000_000, 1)),
        ("0", "million", (0, 1)),
        ("0.000001", "million", (1, 1)),
        ("0.0000005", "million", (1, 2)),  # 7 decimals: half a pico per token
        ("0.00362500", "million", (3_625, 1)),
        ("0.08333333", "million", (8_333_333, 100)),
        ("0.01", "unit", (10_000_000_000, 1)),
        ("0.0025", "unit", (2_500_000_000, 1)),
        ("0.0000000000001", "unit", (1, 10)),
    ],
)
def test_a_price_is_exact(text: str, per: str, price: tuple[int, int]) -> None:
    assert usd_to_pusd_per_unit(text, per) == price  # type: ignore[arg-type]


def test_a_price_per_hour_is_a_pair() -> None:
    assert price_fraction("0.04", 3_600_000) == (100_000, 9)


@pytest.mark.parametrize(
    "text", ["", ".5", "5.", "1e3", "+1", "-1", " 1", "1 ", "1_000", "1,5", "٣", "１", "nan", "inf", "0x1", "1\n",
             "9" * 19],
)
def test_a_price_that_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        usd_to_pusd_per_unit(text)


def test_a_float_is_no_price() -> None:
    with pytest.raises(TypeError, match="float"):
        usd_to_pusd_per_unit(0.15)  # type: ignore[arg-type]


def test_a_price_beyond_a_bigint_is_refused() -> None:
    assert usd_to_pusd_per_unit("9223372.036854775807", "unit") == (BIGINT_MAX, 1)
    with pytest.raises(ValueError, match="out of range"):
        usd_to_pusd_per_unit("9223372.036854775808", "unit")


@given(st.integers(min_value=0, max_value=10**17), st.integers(min_value=0, max_value=17))
def test_a_price_means_what_its_text_means(digits: int, places: int) -> None:
    whole, decimals = divmod(digits, 10**places)
    text = f"{whole}.{decimals:0{places}d}" if places else str(whole)
    try:
        pusd, per_units = usd_to_pusd_per_unit(text)
    except ValueError:
        assert Fraction(digits, 10**places) * 10**6 > BIGINT_MAX
        return
    assert Fraction(pusd, per_units) == Fraction(digits, 10**places) * 10**12 / 10**6
    assert places > 6 or per_units == 1


@given(st.integers(min_value=-(2**63), max_value=10**20))
def test_formatting_and_parsing_are_inverse(pusd: int) -> None:
    text = format_usd(pusd)
    assert parse_usd(text) == pusd
    whole, _, decimals = text.partition(".")
    assert 2 <= len(decimals) <= 12
    assert "e" not in text.lower()
    assert len(decimals) == 2 or not decimals.endswith("0")
    assert whole.lstrip("-").isdigit()


@pytest.mark.parametrize(
    ("pusd", "text"),
    [(0, "0.00"), (1, "0.000000000001"), (150_000, "0.00000015"), (10**12, "1.00"), (-2_500 * 10**9, "-2.50"),
     (-1, "-0.000000000001"), (BIGINT_MAX, "9223372.036854775807")],
)
def test_formatting(pusd: int, text: str) -> None:
    assert format_usd(pusd) == text


def test_an_amount_finer_than_a_pico_is_refused() -> None:
    with pytest.raises(ValueError, match="finer"):
        parse_usd("0.0000000000001")


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (7, 2, 4), (-1, 2, 0), (-3, 2, -2), (1, 3, 0), (2, 3, 1), (6, 3, 2), (0, 9, 0)],
)
def test_ties_go_to_the_even_one(numerator: int, denominator: int, result: int) -> None:
    assert divide_half_even(numerator, denominator) == result


@given(st.integers(), st.integers(min_value=1))
def test_rounding_is_the_nearest(numerator: int, denominator: int) -> None:
    # Fraction.__round__ is half-even by the language reference.
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(min_value=0, max_value=BIGINT_MAX))
def test_a_counter_never_counts_less(pusd: int) -> None:
    nusd = ceil_nusd(pusd)
    assert pusd <= nusd * 1000 < pusd + 1000
