"""SQL of `audit_log` and `idempotency`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection

QUERY_S = 10.0

INSERT_ENTRY = """
INSERT INTO audit_log (id, at, actor_kind, actor_id, workspace_id, verb, resource, resource_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
LIST_ENTRIES = keyset("""
SELECT id, at, actor_kind, actor_id, workspace_id, verb, resource, resource_id, detail FROM audit_log
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::uuid IS NULL OR actor_id = $2)
  AND ($3::text IS NULL OR verb = $3) AND ($4::text IS NULL OR resource = $4) AND ($5::uuid IS NULL OR id <beyond> $5)
ORDER BY id <order> LIMIT $6
""")
LOCK_KEY = "SELECT pg_advisory_xact_lock($1)"
FIND_RECORD = """
SELECT request_hash, status, sealed_body FROM idempotency WHERE actor_id = $1 AND key = $2 AND created_at > $3
"""
SAVE_RECORD = """
INSERT INTO idempotency (actor_id, key, request_hash, status, sealed_body, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (actor_id, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
    sealed_body = excluded.sealed_body, created_at = excluded.created_at
"""
PRUNE_RECORDS = """
DELETE FROM idempotency WHERE (actor_id, key) IN (
    SELECT actor_id, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """`detail`: JSON text."""

    id: UUID
    at: datetime
    actor_kind: str
    actor_id: UUID
    workspace_id: UUID | None
    verb: str
    resource: str
    resource_id: UUID | None
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    request_hash: bytes
    status: int
    sealed_body: bytes


async def insert_entry(db: Connection, entry: Entry) -> None:
    await db.execute(
        INSERT_ENTRY, entry.id, entry.at, entry.actor_kind, entry.actor_id, entry.workspace_id, entry.verb,
        entry.resource, entry.resource_id, entry.detail, timeout=QUERY_S,
    )  # fmt: skip


async def list_entries(
    db: Connection, *, reach: UUID | None, actor_id: UUID | None, verb: str | None, resource: str | None, page: Page
) -> list[Entry]:
    rows = await db.fetch(
        LIST_ENTRIES.of(page), reach, actor_id, verb, resource, page.after, page.limit + 1, timeout=QUERY_S
    )
    return [Entry(**dict(row)) for row in rows]


async def lock_key(db: Connection, number: int) -> None:
    """Until the transaction ends: of two calls with one key the second waits and then finds the first one's record."""
    await db.execute(LOCK_KEY, number, timeout=QUERY_S)


async def find_record(db: Connection, *, actor_id: UUID, key: str, not_before: datetime) -> Record | None:
    row = await db.fetchrow(FIND_RECORD, actor_id, key, not_before, timeout=QUERY_S)
    return None if row is None else Record(**dict(row))


async def save_record(
    db: Connection, *, actor_id: UUID, key: str, request_hash: bytes, status: int, sealed_body: bytes, at: datetime
) -> None:
    """Over one that is too old to be found."""
    await db.execute(SAVE_RECORD, actor_id, key, request_hash, status, sealed_body, at, timeout=QUERY_S)


async def prune_records(db: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` old records; how many went."""
    tag = await db.execute(PRUNE_RECORDS, before, limit, timeout=QUERY_S)
    return int(tag.rsplit(" ", 1)[1])
