"""How much of a month's platform fees is waived: which fee gets how large a credit. Pure.

A workspace's plan waives the first so many pico-USD of fees in each month of its time zone. Whoever comes first has it:
fees are taken in the order of their attempts within a batch, and a batch after the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple, TypeAlias
from uuid import UUID

Month: TypeAlias = tuple[UUID, date]  # a workspace, and the first day of the month there


class Fee(NamedTuple):
    """A fee as it is now. `credited_pusd`: what it was given so far; `free_pusd`: its month's whole allowance."""

    month: Month
    entry_id: UUID  # the ledger entry that a credit names
    fee_pusd: int
    credited_pusd: int
    free_pusd: int


class Credit(NamedTuple):
    """`pusd` negative: a fee became smaller than its credit, which is taken back in part."""

    fee: Fee
    pusd: int


def waive(fees: Sequence[Fee], used: Mapping[Month, int]) -> list[Credit]:
    """Never more credit than fee, and of a month never more than its allowance. What is taken back can be given anew."""
    by_now = dict(used)
    credits: list[Credit] = []
    for fee in fees:
        if fee.credited_pusd > fee.fee_pusd:
            back = fee.fee_pusd - fee.credited_pusd
            by_now[fee.month] = by_now.get(fee.month, 0) + back
            credits.append(Credit(fee, back))
    for fee in fees:
        spent = by_now.get(fee.month, 0)
        more = min(fee.fee_pusd - fee.credited_pusd, fee.free_pusd - spent)
        if more > 0:
            by_now[fee.month] = spent + more
            credits.append(Credit(fee, more))
    return credits
