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
    corrects: UUID | None = None


class Due(NamedTuple):
    """An entry to write."""

    kind: str
    amount_pusd: int
    corrects: UUID | None
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one attempt. `credited`, `refunded` and `granted` as positive amounts.

    `granted`: what people refunded, in entries that name the base. `refunded`: what of it is given as things stand.
    """

    base: Written | None
    charged_pusd: int  # usage, platform_fee, adjustments
    credited_pusd: int
    refunded_pusd: int
    granted_pusd: int = 0
    last_grant: UUID | None = None

    @property
    def owed_pusd(self) -> int:
        return self.charged_pusd - self.credited_pusd - self.refunded_pusd


def balance(written: Iterable[Written]) -> Balance:
    base: Written | None = None
    last_grant: UUID | None = None
    charged = credited = refunded = granted = 0
    for entry in written:
        match entry.kind:
            case "credit":
                credited -= entry.amount_pusd
            case "refund":
                refunded -= entry.amount_pusd
                if base is not None and entry.corrects == base.id:
                    granted -= entry.amount_pusd
                    last_grant = entry.id
            case kind:
                charged += entry.amount_pusd
                if kind != "adjustment":
                    base = entry
    return Balance(base, charged, credited, refunded, granted, last_grant)


def due(kind: str, old_pusd: int, new_pusd: int, there: Balance, reason: str) -> Due | None:
    """`kind` of a first entry. `old_pusd`, `new_pusd`: what the event owes. None: the ledger says so already."""
    if there.base is None:
        return Due(kind, new_pusd, None, reason) if new_pusd else None
    return Due("adjustment", new_pusd - old_pusd, there.base.id, reason) if new_pusd != old_pusd else None


def refund_due(there: Balance) -> Due | None:
    """What was granted is given as far as it is charged: taken back in part where the charge has become smaller, so that nobody
    is given the same money twice, and given again where it is charged again. Such an entry names the refund that it changes."""
    given_pusd = max(0, min(there.granted_pusd, there.charged_pusd - there.credited_pusd))
    amount_pusd = there.refunded_pusd - given_pusd
    if amount_pusd == 0:
        return None
    reason = "less was charged than had been refunded" if amount_pusd > 0 else "what had been refunded is charged again"
    return Due("refund", amount_pusd, there.last_grant, reason)
