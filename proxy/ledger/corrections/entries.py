"""Which entries the ledger gets when what an attempt owes changes. Pure. Credits of free fees: ledger/allowance.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class Written(NamedTuple):
    """An entry that the ledger has."""

    id: UUID
    kind: str
    amount_pusd: int


class Due(NamedTuple):
    """An entry to write. `names_base`: it corrects the attempt's usage or platform_fee entry."""

    kind: str
    amount_pusd: int
    names_base: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one attempt. `credited` and `refunded` as positive amounts."""

    base: Written | None
    charged_pusd: int  # usage, platform_fee, adjustments
    credited_pusd: int
    refunded_pusd: int

    @property
    def owed_pusd(self) -> int:
        return self.charged_pusd - self.credited_pusd - self.refunded_pusd


def balance(written: Iterable[Written]) -> Balance:
    base: Written | None = None
    charged = credited = refunded = 0
    for entry in written:
        match entry.kind:
            case "credit":
                credited -= entry.amount_pusd
            case "refund":
                refunded -= entry.amount_pusd
            case kind:
                charged += entry.amount_pusd
                if kind != "adjustment":
                    base = entry
    return Balance(base, charged, credited, refunded)


def due(kind: str, old_pusd: int, new_pusd: int, there: Balance, reason: str) -> Due | None:
    """`kind` of a first entry. `old_pusd`, `new_pusd`: what the event owes. None: the ledger says so already."""
    if there.base is None:
        return Due(kind, new_pusd, False, reason) if new_pusd else None
    return Due("adjustment", new_pusd - old_pusd, True, reason) if new_pusd != old_pusd else None


def unrefunded(there: Balance) -> Due | None:
    """What was refunded of a charge that became smaller since is not given back a second time."""
    too_much_pusd = min(there.refunded_pusd, -there.owed_pusd)
    return Due("refund", too_much_pusd, True, "less was charged than had been refunded") if too_much_pusd > 0 else None
