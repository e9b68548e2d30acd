"""Asking: the snapshot, the days that there are, a check with its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from proxy.ledger.check.check import MOST_SHOWN, Check, Difference
from proxy.ledger.partitions import store as partitions
from proxy.storage.postgres import Connection

QUERY_S = 30.0
CHECK_S = 3600.0  # of a day, or of all entries

# Whole days of events are read: hash joins and sorts in memory where they fit. Comparing is not worth compiling for.
_SETTINGS = """
SELECT set_config('statement_timeout', '3600s', true), set_config('work_mem', '128MB', true),
       set_config('jit', 'off', true), set_config('timezone', 'UTC', true)
"""
_HAS_EVENTS = "SELECT EXISTS (SELECT FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2)"
_DAYS_OF_SUMS = """
SELECT DISTINCT day FROM usage_daily UNION SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date FROM usage_hourly
"""
_FOUND = """
SELECT subject, says, count(*) OVER () AS differences FROM ({differences}) d ORDER BY subject LIMIT {most}
"""


class Asked(NamedTuple):
    looked_at: int
    differences: int
    examples: list[Difference]


@asynccontextmanager
async def snapshot(db: Connection) -> AsyncIterator[None]:
    async with db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(_SETTINGS, timeout=QUERY_S)
        yield


async def days(db: Connection) -> list[date]:
    """UTC days that have events or sums."""
    found = {row["day"] for row in await db.fetch(_DAYS_OF_SUMS, timeout=CHECK_S)}
    for day in await partitions.existing(db) - found:
        if await db.fetchval(_HAS_EVENTS, midnight(day), midnight(day + timedelta(days=1)), timeout=CHECK_S):
            found.add(day)
    return sorted(found)


def midnight(day: date) -> datetime:
    """In UTC."""
    return datetime.combine(day, time(0), UTC)


async def ask(db: Connection, check: Check, since: datetime, until: datetime) -> Asked:
    bounds = () if check.scope == "all" else (since, until)
    looked_at = await db.fetchval(check.count, *bounds, timeout=CHECK_S)
    sql = _FOUND.format(differences=check.differences, most=MOST_SHOWN)
    rows = await db.fetch(sql, *bounds, timeout=CHECK_S)
    examples = [Difference(row["subject"], row["says"]) for row in rows]
    return Asked(int(looked_at), int(rows[0]["differences"]) if rows else 0, examples)
