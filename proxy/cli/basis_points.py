"""`12.5%`, `1250bps`: parts of an amount as people write them; basis points on the wire."""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.cli.fault import USAGE, Fault

_PARTS = re.compile(r"([+-]?\d{1,9}(?:\.\d{1,9})?)(%|bps)", re.ASCII)


def basis_points(text: str) -> int:
    """A bare number could be either, and is neither."""
    match = _PARTS.fullmatch(text.strip())
    if match is None:
        raise Fault(f"{text!r} is no part of an amount.", next_step="12.5% or 1250bps", code=USAGE)
    found = Decimal(match[1]) * (100 if match[2] == "%" else 1)
    if found != int(found):
        raise Fault(f"{text!r} is finer than a basis point (0.01%).", code=USAGE)
    return int(found)


def percent(bps: int) -> str:
    """1250 → `12.5%`. Exact."""
    whole, rest = divmod(abs(bps), 100)
    digits = f".{rest:02d}".rstrip("0").rstrip(".")
    return f"{'-' if bps < 0 else ''}{whole}{digits}%"
