"""Integer pico-USD (1e-12 USD): reading, writing and rounding. No float, no Decimal context, no locale."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

PUSD_PER_USD = 10**12
PUSD_PER_NUSD = 10**3
# What Postgres' bigint and every `*_pusd` column hold: 9.2 million USD.
BIGINT_MAX = 2**63 - 1

_DIGITS = 18  # on either side of the point: far beyond any price, and a bound on the work
_PLAIN = re.compile(rf"(-?)([0-9]{{1,{_DIGITS}}})(?:\.([0-9]{{1,{_DIGITS}}}))?")

Per = Literal["million", "unit"]


def usd_to_pusd_per_unit(text: str, per: Per = "million") -> tuple[int, int]:
    """A price in USD per million tokens or per thing → (pusd, per_units) in lowest terms.

    '0.15' per million is (150000, 1); '0.0000005' per million is half a pico: (1, 2). Raises ValueError where the text
    is no plain non-negative decimal, or does not fit a bigint.
    """
    return price_fraction(text, 10**6 if per == "million" else 1)


def price_fraction(text: str, per_units: int) -> tuple[int, int]:
    """USD per `per_units` units → (pusd, per_units) in lowest terms; exact."""
    usd = parse_decimal(text)
    if usd < 0:
        raise ValueError(f"a price is not negative: {text!r}")
    if per_units < 1:
        raise ValueError(f"a price is per one unit or more, not per {per_units}")
    price = usd * PUSD_PER_USD / per_units  # Fractions: exact
    if price.numerator > BIGINT_MAX or price.denominator > BIGINT_MAX:
        raise ValueError(f"a price of {text!r} USD per {per_units} units is out of range")
    return price.numerator, price.denominator


def parse_decimal(text: str) -> Fraction:
    """A plain decimal ('12', '0.15', '-3.5'): ASCII digits, no exponent, no sign but '-', no spaces."""
    if not isinstance(text, str):  # YAML reads an unquoted 0.15 as a float
        raise TypeError(f"money is text such as '0.15', not {type(text).__name__}")
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a plain decimal such as '0.15': {text[:60]!r}")
    sign, whole, decimals = match[1], match[2], match[3] or ""
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    return -value if sign else value


def parse_usd(text: str) -> int:
    """A USD amount as text → pusd. Raises ValueError where it is finer than a pico: amounts are never rounded here."""
    pusd = parse_decimal(text) * PUSD_PER_USD
    if pusd.denominator != 1:
        raise ValueError(f"finer than a pico-USD: {text!r}")
    return pusd.numerator


def format_usd(pusd: int) -> str:
    """Plain decimal USD with 2 to 12 places: 150000 → '0.00000015', 10**12 → '1.00'. Exact."""
    sign = "-" if pusd < 0 else ""
    whole, pico = divmod(abs(pusd), PUSD_PER_USD)
    decimals = f"{pico:012d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """The nearest integer; a tie goes to the even one. `denominator` > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def ceil_nusd(pusd: int) -> int:
    """Nano-USD for a Redis counter: rounded up, so that a budget never counts less than the ledger."""
    return -(-pusd // PUSD_PER_NUSD)
