"""Days of `usage_events`: which exist, and how one is made."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, timedelta

from asyncpg import exceptions

from proxy.ledger.store import sorted_errors, transaction
from proxy.storage.postgres import Connection

_log = logging.getLogger(__name__)
_LOCK_CLASS = 1_819_305_064  # beside the ledger's; one maker at a time in a database
_COMMAND_TIMEOUT_S = 30.0

_EXISTING = """
SELECT c.relname
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'usage_events'::regclass AND NOT i.inhdetachpending
"""

# lock_timeout holds for the advisory lock too.
_BOUNDS = """
SELECT set_config('lock_timeout', '5s', true), set_config('statement_timeout', '20s', true),
       set_config('client_min_messages', 'warning', true)
"""
_LOCK = "SELECT pg_advisory_xact_lock($1, 0)"

# CREATE … PARTITION OF takes ACCESS EXCLUSIVE on the parent and queues behind an open cursor, and everybody behind it.
# ATTACH takes SHARE UPDATE EXCLUSIVE. LIKE brings the indexes, which ATTACH then adopts.
_CREATE = """
CREATE TABLE usage_events_{day:%Y%m%d} (LIKE usage_events INCLUDING ALL);
ALTER TABLE usage_events ATTACH PARTITION usage_events_{day:%Y%m%d}
    FOR VALUES FROM ('{day:%Y-%m-%d} 00:00:00+00') TO ('{after:%Y-%m-%d} 00:00:00+00')
"""


async def existing(conn: Connection) -> set[date]:
    """The days that have a partition."""
    with sorted_errors():
        names = await conn.fetch(_EXISTING, timeout=_COMMAND_TIMEOUT_S)
    return {day for row in names if (day := _day_of(row["relname"])) is not None}


async def ensure(conn: Connection, days: Iterable[date]) -> set[date]:
    """Make what is missing, each day in a transaction of its own. Those of `days` that can hold rows now."""
    wanted = set(days)
    there = await existing(conn) & wanted
    for day in sorted(wanted - there):
        try:
            async with transaction(conn):
                await _make(conn, day)
        except _Taken:
            _log.error("no partition for %s: a table of its name exists and is not attached", day)
        else:
            there.add(day)
    return there


class _Taken(Exception):
    """The day's table name belongs to a table outside `usage_events`: somebody detached it and keeps it."""


async def _make(conn: Connection, day: date) -> None:
    await conn.execute(_BOUNDS, timeout=_COMMAND_TIMEOUT_S)
    await conn.execute(_LOCK, _LOCK_CLASS, timeout=_COMMAND_TIMEOUT_S)
    if day in await existing(conn):
        return  # another maker's, while this one waited
    try:
        await conn.execute(_CREATE.format(day=day, after=day + timedelta(days=1)), timeout=_COMMAND_TIMEOUT_S)
    except exceptions.DuplicateTableError as error:
        raise _Taken(str(error)) from error


def _day_of(name: str) -> date | None:
    """None for a partition that is not of one day by name."""
    digits = name.removeprefix("usage_events_")
    if len(digits) != 8 or not digits.isdigit():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
