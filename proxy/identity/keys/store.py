"""SQL of `virtual_keys` and `management_keys`. `reach` as in identity/store.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from proxy.identity.principal import ClientLeaves, KeyPolicy
from proxy.identity.records import ManagementKey, Status, VirtualKey, WorkspaceRole
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0

# -- virtual keys ---------------------------------------------------------------------------------------------------

INSERT_VIRTUAL = """
INSERT INTO virtual_keys (id, workspace_id, user_id, name, hash, last4, imported, llms, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
RETURNING id, workspace_id, user_id, name, last4, imported, llms, expires_at, status, created_at
"""
GET_VIRTUAL = """
SELECT id, workspace_id, user_id, name, last4, imported, llms, expires_at, status, created_at FROM virtual_keys
WHERE id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)
"""
LOCK_VIRTUAL = GET_VIRTUAL + " FOR UPDATE"
LIST_VIRTUAL = keyset("""
SELECT id, workspace_id, user_id, name, last4, imported, llms, expires_at, status, created_at FROM virtual_keys
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::uuid IS NULL OR user_id = $2) AND ($3::text IS NULL OR name = $3)
  AND ($4::text IS NULL OR status = $4) AND ($5::uuid IS NULL OR id <beyond> $5)
ORDER BY id <order> LIMIT $6
""")
UPDATE_VIRTUAL = """
UPDATE virtual_keys SET name = $2, llms = $3, expires_at = $4, status = $5 WHERE id = $1
RETURNING id, workspace_id, user_id, name, last4, imported, llms, expires_at, status, created_at
"""
ROTATE_VIRTUAL = """
UPDATE virtual_keys SET hash = $2, last4 = $3, imported = false WHERE id = $1
RETURNING id, workspace_id, user_id, name, last4, imported, llms, expires_at, status, created_at
"""
DELETE_VIRTUAL = "DELETE FROM virtual_keys WHERE id = $1"
ANY_IMPORTED = "SELECT EXISTS (SELECT 1 FROM virtual_keys WHERE imported)"
# All that decides on a caller, in one snapshot.
CALLER = """
SELECT k.id AS key_id, k.name AS key_name, k.llms, k.expires_at, k.status AS key_status, w.id AS workspace_id,
       w.name AS workspace_name, w.shard, w.key_policy, w.client_leaves, w.status AS workspace_status,
       u.id AS user_id, u.status AS user_status, m.role IS NOT NULL AS is_member
FROM virtual_keys k JOIN workspaces w ON w.id = k.workspace_id JOIN users u ON u.id = k.user_id
     LEFT JOIN memberships m ON m.workspace_id = k.workspace_id AND m.user_id = k.user_id
WHERE k.hash = $1
"""


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: UUID
    key_name: str
    llms: list[str] | None
    expires_at: datetime | None
    key_status: Status
    workspace_id: UUID
    workspace_name: str
    shard: int
    key_policy: KeyPolicy
    client_leaves: ClientLeaves
    workspace_status: Status
    user_id: UUID
    user_status: Status
    is_member: bool


async def insert_virtual(
    db: Connection,
    *,
    id: UUID,
    workspace_id: UUID,
    user_id: UUID,
    name: str,
    hash: bytes,
    last4: str,
    imported: bool,
    llms: Sequence[str] | None,
    expires_at: datetime | None,
) -> VirtualKey | None:
    """None where a key with this hash is there already."""
    row = await db.fetchrow(
        INSERT_VIRTUAL, id, workspace_id, user_id, name, hash, last4, imported, llms, expires_at, timeout=QUERY_S
    )
    return None if row is None else _virtual(row)


async def get_virtual(db: Connection, id: UUID, *, reach: UUID | None) -> VirtualKey | None:
    row = await db.fetchrow(GET_VIRTUAL, id, reach, timeout=QUERY_S)
    return None if row is None else _virtual(row)


async def lock_virtual(db: Connection, id: UUID, *, reach: UUID | None) -> VirtualKey | None:
    row = await db.fetchrow(LOCK_VIRTUAL, id, reach, timeout=QUERY_S)
    return None if row is None else _virtual(row)


async def list_virtual(
    db: Connection, *, reach: UUID | None, user_id: UUID | None, name: str | None, status: Status | None, page: Page
) -> list[VirtualKey]:
    rows = await db.fetch(
        LIST_VIRTUAL.of(page), reach, user_id, name, status, page.after, page.limit + 1, timeout=QUERY_S
    )
    return [_virtual(row) for row in rows]


async def update_virtual(
    db: Connection, id: UUID, *, name: str, llms: Sequence[str] | None, expires_at: datetime | None, status: Status
) -> VirtualKey:
    row = await db.fetchrow(UPDATE_VIRTUAL, id, name, llms, expires_at, status, timeout=QUERY_S)
    assert row is not None
    return _virtual(row)


async def rotate_virtual(db: Connection, id: UUID, *, hash: bytes, last4: str) -> VirtualKey:
    row = await db.fetchrow(ROTATE_VIRTUAL, id, hash, last4, timeout=QUERY_S)
    assert row is not None
    return _virtual(row)


async def delete_virtual(db: Connection, id: UUID) -> None:
    """Its usage and billing rows stay: they name the id only."""
    await db.execute(DELETE_VIRTUAL, id, timeout=QUERY_S)


async def any_imported(db: Connection) -> bool:
    return bool(await db.fetchval(ANY_IMPORTED, timeout=QUERY_S))


async def caller(db: Connection, hash: bytes) -> Caller | None:
    row = await db.fetchrow(CALLER, hash, timeout=QUERY_S)
    return None if row is None else Caller(**dict(row))


# -- management keys ------------------------------------------------------------------------------------------------

INSERT_MANAGEMENT = """
INSERT INTO management_keys (id, workspace_id, role, name, hash, last4, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
RETURNING id, workspace_id, role, name, last4, expires_at, status, created_at
"""
GET_MANAGEMENT = """
SELECT id, workspace_id, role, name, last4, expires_at, status, created_at FROM management_keys
WHERE id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)
"""
LOCK_MANAGEMENT = GET_MANAGEMENT + " FOR UPDATE"
LIST_MANAGEMENT = keyset("""
SELECT id, workspace_id, role, name, last4, expires_at, status, created_at FROM management_keys
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR role = $2) AND ($3::text IS NULL OR name = $3)
  AND ($4::text IS NULL OR status = $4) AND ($5::uuid IS NULL OR id <beyond> $5)
ORDER BY id <order> LIMIT $6
""")
UPDATE_MANAGEMENT = """
UPDATE management_keys SET name = $2, expires_at = $3, status = $4 WHERE id = $1
RETURNING id, workspace_id, role, name, last4, expires_at, status, created_at
"""
ROTATE_MANAGEMENT = """
UPDATE management_keys SET hash = $2, last4 = $3 WHERE id = $1
RETURNING id, workspace_id, role, name, last4, expires_at, status, created_at
"""
DELETE_MANAGEMENT = "DELETE FROM management_keys WHERE id = $1"
MANAGER = """
SELECT k.id, k.workspace_id, k.role, k.name, k.last4, k.expires_at, k.status, k.created_at,
       coalesce(w.status, 'active') AS workspace_status
FROM management_keys k LEFT JOIN workspaces w ON w.id = k.workspace_id WHERE k.hash = $1
"""
HASH_OF_MANAGEMENT = "SELECT hash FROM management_keys WHERE id = $1 FOR UPDATE"


async def insert_management(
    db: Connection,
    *,
    id: UUID,
    workspace_id: UUID | None,
    role: WorkspaceRole,
    name: str,
    hash: bytes,
    last4: str,
    expires_at: datetime | None,
) -> ManagementKey | None:
    """None where the id or the hash is there already."""
    row = await db.fetchrow(INSERT_MANAGEMENT, id, workspace_id, role, name, hash, last4, expires_at, timeout=QUERY_S)
    return None if row is None else _management(row)


async def get_management(db: Connection, id: UUID, *, reach: UUID | None) -> ManagementKey | None:
    row = await db.fetchrow(GET_MANAGEMENT, id, reach, timeout=QUERY_S)
    return None if row is None else _management(row)


async def lock_management(db: Connection, id: UUID, *, reach: UUID | None) -> ManagementKey | None:
    row = await db.fetchrow(LOCK_MANAGEMENT, id, reach, timeout=QUERY_S)
    return None if row is None else _management(row)


async def list_management(
    db: Connection,
    *,
    reach: UUID | None,
    role: WorkspaceRole | None,
    name: str | None,
    status: Status | None,
    page: Page,
) -> list[ManagementKey]:
    rows = await db.fetch(
        LIST_MANAGEMENT.of(page), reach, role, name, status, page.after, page.limit + 1, timeout=QUERY_S
    )
    return [_management(row) for row in rows]


async def update_management(
    db: Connection, id: UUID, *, name: str, expires_at: datetime | None, status: Status
) -> ManagementKey:
    row = await db.fetchrow(UPDATE_MANAGEMENT, id, name, expires_at, status, timeout=QUERY_S)
    assert row is not None
    return _management(row)


async def rotate_management(db: Connection, id: UUID, *, hash: bytes, last4: str) -> ManagementKey:
    row = await db.fetchrow(ROTATE_MANAGEMENT, id, hash, last4, timeout=QUERY_S)
    assert row is not None
    return _management(row)


async def delete_management(db: Connection, id: UUID) -> None:
    await db.execute(DELETE_MANAGEMENT, id, timeout=QUERY_S)


async def manager(db: Connection, hash: bytes) -> tuple[ManagementKey, Status] | None:
    """The key and the status of its workspace."""
    row = await db.fetchrow(MANAGER, hash, timeout=QUERY_S)
    if row is None:
        return None
    values = dict(row)
    workspace_status: Status = values.pop("workspace_status")
    return ManagementKey(**values), workspace_status


async def hash_of_management(db: Connection, id: UUID) -> bytes | None:
    hash: bytes | None = await db.fetchval(HASH_OF_MANAGEMENT, id, timeout=QUERY_S)
    return hash


def _virtual(row: Record) -> VirtualKey:
    values = dict(row)
    llms = values.pop("llms")
    return VirtualKey(llms=None if llms is None else tuple(llms), **values)


def _management(row: Record) -> ManagementKey:
    return ManagementKey(**dict(row))
