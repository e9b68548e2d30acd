"""SQL of `user_variables` and `master_keys`. `reach`: the workspace that the caller is bound to, None for the platform."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0
RESEAL_S = 60.0
Scope = Literal["user", "workspace"]

INSERT = """
INSERT INTO user_variables (id, workspace_id, scope, user_id, provider, sealed, last4, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
RETURNING id, workspace_id, scope, user_id, provider, last4, expires_at, created_at, updated_at
"""
GET = """
SELECT id, workspace_id, scope, user_id, provider, last4, expires_at, created_at, updated_at FROM user_variables
WHERE id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)
"""
LOCK = GET + " FOR UPDATE"
LIST = keyset("""
SELECT id, workspace_id, scope, user_id, provider, last4, expires_at, created_at, updated_at FROM user_variables
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::uuid IS NULL OR user_id = $2)
  AND ($3::text IS NULL OR scope = $3) AND ($4::text IS NULL OR provider = $4) AND ($5::uuid IS NULL OR id <beyond> $5)
ORDER BY id <order> LIMIT $6
""")
UPDATE = """
UPDATE user_variables
SET sealed = coalesce($2, sealed), last4 = coalesce($3, last4), expires_at = $4, updated_at = now()
WHERE id = $1
RETURNING id, workspace_id, scope, user_id, provider, last4, expires_at, created_at, updated_at
"""
DELETE = "DELETE FROM user_variables WHERE id = $1"
USABLE = """
SELECT id, scope, provider, sealed, expires_at FROM user_variables
WHERE workspace_id = $1 AND (scope = 'workspace' OR user_id = $2) ORDER BY scope, provider
"""

# The length of a blob's head that names its key: version and key id (seal.py).
OTHERWISE_SEALED = """
SELECT id, workspace_id, provider, sealed FROM user_variables
WHERE substring(sealed FROM 1 FOR 5) <> $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3 FOR UPDATE
"""
RESEAL = "UPDATE user_variables SET sealed = $2 WHERE id = $1"
SEALED_BY = """
SELECT substring(sealed FROM 2 FOR 4) AS key_id, count(*) AS variables FROM user_variables GROUP BY 1 ORDER BY 1
"""
# Who sealed anything at all, also before there was `master_keys`.
SEALERS = """
SELECT substring(sealed FROM 2 FOR 4) AS key_id FROM user_variables
UNION SELECT substring(sealed_body FROM 2 FOR 4) FROM idempotency
"""
MASTER_KEYS = "SELECT key_id, ring, state, created_at FROM master_keys ORDER BY created_at, key_id"
# Against others that write; whoever reads is not kept waiting.
LOCK_MASTER_KEYS = "LOCK TABLE master_keys IN SHARE ROW EXCLUSIVE MODE"
NONE_CURRENT = "UPDATE master_keys SET state = 'previous' WHERE state = 'current' AND key_id <> $1"
PUT_MASTER_KEY = """
INSERT INTO master_keys (key_id, ring, state) VALUES ($1, $2, $3)
ON CONFLICT (key_id) DO UPDATE SET ring = excluded.ring, state = excluded.state
"""
ONLY_CURRENT = "DELETE FROM master_keys WHERE state = 'previous' RETURNING key_id"
FORGET_MASTER_KEYS = "DELETE FROM master_keys"


@dataclass(frozen=True, slots=True)
class Variable:
    """Never its value."""

    id: UUID
    workspace_id: UUID
    scope: Scope
    user_id: UUID | None
    provider: str
    last4: str
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    id: UUID
    scope: Scope
    provider: str
    sealed: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredMasterKey:
    key_id: bytes
    ring: bytes
    state: Literal["current", "previous"]
    created_at: datetime


class Otherwise(NamedTuple):
    """A variable that another key than the asked one sealed."""

    id: UUID
    workspace_id: UUID
    provider: str
    sealed: bytes


async def insert(
    db: Connection,
    *,
    id: UUID,
    workspace_id: UUID,
    scope: Scope,
    user_id: UUID | None,
    provider: str,
    sealed: bytes,
    last4: str,
    expires_at: datetime | None,
) -> Variable | None:
    """None where there is one for this scope, user and provider."""
    row = await db.fetchrow(
        INSERT, id, workspace_id, scope, user_id, provider, sealed, last4, expires_at, timeout=QUERY_S
    )
    return None if row is None else _variable(row)


async def get(db: Connection, id: UUID, *, reach: UUID | None) -> Variable | None:
    row = await db.fetchrow(GET, id, reach, timeout=QUERY_S)
    return None if row is None else _variable(row)


async def lock(db: Connection, id: UUID, *, reach: UUID | None) -> Variable | None:
    row = await db.fetchrow(LOCK, id, reach, timeout=QUERY_S)
    return None if row is None else _variable(row)


async def list_variables(
    db: Connection, *, reach: UUID | None, user_id: UUID | None, scope: Scope | None, provider: str | None, page: Page
) -> list[Variable]:
    rows = await db.fetch(LIST.of(page), reach, user_id, scope, provider, page.after, page.limit + 1, timeout=QUERY_S)
    return [_variable(row) for row in rows]


async def update(
    db: Connection, id: UUID, *, sealed: bytes | None, last4: str | None, expires_at: datetime | None
) -> Variable:
    """`sealed` and `last4` None: the value stays. `expires_at` is set as given."""
    row = await db.fetchrow(UPDATE, id, sealed, last4, expires_at, timeout=QUERY_S)
    assert row is not None
    return _variable(row)


async def delete(db: Connection, id: UUID) -> None:
    await db.execute(DELETE, id, timeout=QUERY_S)


async def usable(db: Connection, *, workspace_id: UUID, user_id: UUID) -> list[Sealed]:
    """What this user may use in this workspace, sealed: their own and the workspace's."""
    return [Sealed(**dict(row)) for row in await db.fetch(USABLE, workspace_id, user_id, timeout=QUERY_S)]

async def otherwise_sealed(db: Connection, head: bytes, *, after: UUID | None, limit: int) -> list[Otherwise]:
    """By id, locked: those whose blob does not begin with `head`."""
    rows = await db.fetch(OTHERWISE_SEALED, head, after, limit, timeout=RESEAL_S)
    return [Otherwise(row["id"], row["workspace_id"], row["provider"], row["sealed"]) for row in rows]


async def reseal(db: Connection, sealed: list[tuple[UUID, bytes]]) -> None:
    await db.executemany(RESEAL, sealed, timeout=RESEAL_S)


async def sealed_by(db: Connection) -> dict[bytes, int]:
    """Key id → how many variables it sealed."""
    return {row["key_id"]: row["variables"] for row in await db.fetch(SEALED_BY, timeout=QUERY_S)}


async def sealers(db: Connection) -> set[bytes]:
    """Ids of all keys that sealed a variable or a stored answer."""
    return {row["key_id"] for row in await db.fetch(SEALERS, timeout=QUERY_S)}


async def master_keys(db: Connection) -> list[StoredMasterKey]:
    return [StoredMasterKey(**dict(row)) for row in await db.fetch(MASTER_KEYS, timeout=QUERY_S)]


async def lock_master_keys(db: Connection) -> None:
    """Until the transaction ends nobody else changes them."""
    await db.execute(LOCK_MASTER_KEYS, timeout=RESEAL_S)


async def put_master_key(db: Connection, key_id: bytes, ring: bytes, *, current: bool) -> None:
    if current:
        await db.execute(NONE_CURRENT, key_id, timeout=QUERY_S)
    await db.execute(PUT_MASTER_KEY, key_id, ring, "current" if current else "previous", timeout=QUERY_S)


async def retire_previous(db: Connection) -> list[bytes]:
    """Whose are no longer accepted."""
    return [row["key_id"] for row in await db.fetch(ONLY_CURRENT, timeout=QUERY_S)]


async def forget_master_keys(db: Connection) -> None:
    await db.execute(FORGET_MASTER_KEYS, timeout=QUERY_S)


def _variable(row: Record) -> Variable:
    return Variable(**dict(row))
