"""All checks, in one snapshot."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, timedelta

from proxy.ledger.check import store
from proxy.ledger.check.around import store as around
from proxy.ledger.check.check import MOST_SHOWN, Check, Difference, Finding
from proxy.ledger.check.entries import store as entries
from proxy.ledger.check.events import store as events
from proxy.ledger.check.rollups import store as rollups
from proxy.storage.postgres import Connection

CHECKS: tuple[Check, ...] = (*events.CHECKS, *rollups.CHECKS, *entries.CHECKS, *around.CHECKS)
_EVER, _NEVER = date(1970, 1, 1), date(9999, 1, 1)


async def verify(db: Connection, since: date | None = None, until: date | None = None) -> AsyncGenerator[Finding, None]:
    """Check by check, as each is answered. UTC days, `until` exclusive; checks that time does not matter to see all."""
    first, last = since or _EVER, until or _NEVER
    async with store.snapshot(db):
        days = [day for day in await store.days(db) if first <= day < last]
        for check in CHECKS:
            yield await _found(db, check, days if check.scope == "day" else None, first, last)


async def _found(db: Connection, check: Check, days: Sequence[date] | None, first: date, last: date) -> Finding:
    looked_at = differences = 0
    examples: list[Difference] = []
    bounds = [(first, last)] if days is None else [(day, day + timedelta(days=1)) for day in days]
    for start, end in bounds:
        asked = await store.ask(db, check, store.midnight(start), store.midnight(end))
        looked_at += asked.looked_at
        differences += asked.differences
        examples += asked.examples[: MOST_SHOWN - len(examples)]
    return Finding(check, looked_at, differences, tuple(examples))

