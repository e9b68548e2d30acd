"""SQL of `alerts`, and the two functions that change it: `raise_alert` and `resolve`."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from proxy.alerts.kinds import Kind
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection

QUERY_S = 10.0
LOCK_CLASS = 1_634_494_066  # "aler": the first of two numbers, so that it is nobody else's

# xmax is 0 in a row that was inserted, and not in one that was there.
RAISE = """
INSERT INTO alerts (id, kind, subject, workspace_id, message) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (kind, subject, workspace_id) WHERE resolved_at IS NULL
DO UPDATE SET message = excluded.message, seen_at = now()
RETURNING xmax = 0 AS raised
"""
RESOLVE = """
UPDATE alerts SET resolved_at = now()
WHERE kind = $1 AND subject = $2 AND workspace_id IS NOT DISTINCT FROM $3 AND resolved_at IS NULL
RETURNING id
"""
FIRING = "SELECT subject FROM alerts WHERE kind = $1 AND workspace_id IS NULL AND resolved_at IS NULL"
COUNTS = "SELECT kind, count(*) AS firing FROM alerts WHERE resolved_at IS NULL GROUP BY kind"
TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1, 0)"
LIST = keyset("""
SELECT id, kind, subject, workspace_id, message, raised_at, seen_at, resolved_at FROM alerts
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR kind = $2)
  AND ($3::boolean IS NULL OR (resolved_at IS NULL) = $3) AND ($4::uuid IS NULL OR id <beyond> $4)
ORDER BY id <order> LIMIT $5
""")


@dataclass(frozen=True, slots=True)
class Alert:
    """`workspace_id` None: the platform's. `resolved_at` None: it fires."""

    id: UUID
    kind: str
    subject: str
    workspace_id: UUID | None
    message: str
    raised_at: datetime
    seen_at: datetime
    resolved_at: datetime | None


async def raise_alert(
    db: Connection, kind: Kind, subject: str, message: str, *, id: UUID, workspace_id: UUID | None = None
) -> bool:
    """True: it is new, with that id. Else it fires already, and was seen again."""
    raised: bool = await db.fetchval(RAISE, id, kind, subject, workspace_id, message, timeout=QUERY_S)
    return raised


async def resolve(db: Connection, kind: Kind, subject: str, *, workspace_id: UUID | None = None) -> bool:
    """False: it did not fire."""
    return await db.fetchval(RESOLVE, kind, subject, workspace_id, timeout=QUERY_S) is not None


async def firing(db: Connection, kind: Kind) -> Set[str]:
    """The subjects of the platform's alerts of a kind."""
    return {row["subject"] for row in await db.fetch(FIRING, kind, timeout=QUERY_S)}


async def counts(db: Connection) -> dict[str, int]:
    """How many fire, by kind; those of none are not in it."""
    return {row["kind"]: row["firing"] for row in await db.fetch(COUNTS, timeout=QUERY_S)}


async def try_lock(db: Connection) -> bool:
    """Until the transaction ends nobody else looks for reasons to raise alerts. False: somebody does."""
    mine: bool = await db.fetchval(TRY_LOCK, LOCK_CLASS, timeout=QUERY_S)
    return mine


async def list_alerts(
    db: Connection, *, reach: UUID | None, kind: str | None, is_firing: bool | None, page: Page
) -> list[Alert]:
    rows = await db.fetch(LIST.of(page), reach, kind, is_firing, page.after, page.limit + 1, timeout=QUERY_S)
    return [Alert(**dict(row)) for row in rows]
