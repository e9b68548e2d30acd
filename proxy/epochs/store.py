"""SQL of the table `epochs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from proxy.storage.postgres import Connection

# clock_timestamp: a transaction that waited for a lock must not carry the moment it began.
BUMP = """
INSERT INTO epochs (scope_id, epoch, changed_at) VALUES ($1, 1, clock_timestamp())
ON CONFLICT (scope_id) DO UPDATE SET epoch = epochs.epoch + 1, changed_at = clock_timestamp()
RETURNING epoch
"""

LIFT = "UPDATE epochs SET epoch = $2, changed_at = clock_timestamp() WHERE scope_id = $1 AND epoch < $2"


async def bump(conn: Connection, scope_id: UUID, *, timeout_s: float = 5.0) -> int:
    """The new epoch. In the caller's transaction: the row lock puts the changes of one scope in an order."""
    return int(await conn.fetchval(BUMP, scope_id, timeout=timeout_s))


async def lift(conn: Connection, at_least: Mapping[UUID, int], *, timeout_s: float = 5.0) -> None:
    """Only after Postgres was set back (a restored backup) while Redis was not: the numbers never fall."""
    for scope_id, epoch in sorted(at_least.items()):
        await conn.execute(LIFT, scope_id, epoch, timeout=timeout_s)


async def read(conn: Connection, scope_ids: Iterable[UUID], *, timeout_s: float = 5.0) -> dict[UUID, int]:
    """What never changed has no entry."""
    rows = await conn.fetch(
        "SELECT scope_id, epoch FROM epochs WHERE scope_id = ANY($1::uuid[])", list(scope_ids), timeout=timeout_s
    )
    return {row["scope_id"]: row["epoch"] for row in rows}


async def changed_since(conn: Connection, moment: datetime, *, timeout_s: float = 5.0) -> dict[UUID, int]:
    """Those raised at or after `moment`. A transaction shows up only once committed: ask further back than the last
    look, by more than the longest management transaction.
    """
    rows = await conn.fetch("SELECT scope_id, epoch FROM epochs WHERE changed_at >= $1", moment, timeout=timeout_s)
    return {row["scope_id"]: row["epoch"] for row in rows}


async def all_epochs(conn: Connection, *, timeout_s: float = 30.0) -> dict[UUID, int]:
    rows = await conn.fetch("SELECT scope_id, epoch FROM epochs", timeout=timeout_s)
    return {row["scope_id"]: row["epoch"] for row in rows}
