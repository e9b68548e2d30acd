"""SQL of `user_variables`. `reach`: the workspace that the caller is bound to, None for the platform."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0
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


def _variable(row: Record) -> Variable:
    return Variable(**dict(row))
