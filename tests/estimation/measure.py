"""How far estimates are from what providers reported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from proxy.metering.estimate import Estimator
from tests.estimation.exchanges import Exchange


class Measured(NamedTuple):
    """`*_error`: |estimated - reported| / reported; None where nothing was reported to compare with."""

    exchange: Exchange
    input: int
    output: int
    input_error: float | None
    output_error: float | None


async def measure(exchanges: Iterable[Exchange]) -> list[Measured]:
    estimator = Estimator()
    found = []
    try:
        for one in exchanges:
            usage = await estimator.estimate(one.surface, msgspec.json.encode(one.body), one.said, one.model)
            taken, said = usage.input_tokens, usage.output_tokens
            found.append(
                Measured(one, taken, said, _error(taken, one.input_tokens), _error(said, one.output_tokens))
            )
    finally:
        estimator.close()
    return found


def _error(estimated: int, reported: int | None) -> float | None:
    return None if not reported else abs(estimated - reported) / reported


def quantile(values: list[float], share: float) -> float:
    """Nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
