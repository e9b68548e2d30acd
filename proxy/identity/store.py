"""SQL of `workspaces`, `users` and `memberships`.

`reach`: the workspace that the caller is bound to, None for the platform. A row outside it is as absent as one that
never was.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import exceptions

from proxy.identity.principal import ClientLeaves, KeyPolicy
from proxy.identity.records import Member, Status, User, Workspace, WorkspaceRole
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0


class EmailTaken(Exception):
    """Another user has this email."""


# -- workspaces -----------------------------------------------------------------------------------------------------

INSERT_WORKSPACE = """
INSERT INTO workspaces (id, name, shard, key_policy, time_zone, client_leaves) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, name, shard, key_policy, time_zone, client_leaves, status, created_at
"""
GET_WORKSPACE = """
SELECT id, name, shard, key_policy, time_zone, client_leaves, status, created_at FROM workspaces
WHERE id = $1 AND ($2::uuid IS NULL OR id = $2)
"""
LIST_WORKSPACES = keyset("""
SELECT id, name, shard, key_policy, time_zone, client_leaves, status, created_at FROM workspaces
WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR status = $3)
  AND ($4::uuid IS NULL OR id <beyond> $4)
ORDER BY id <order> LIMIT $5
""")
UPDATE_WORKSPACE = """
UPDATE workspaces SET name = coalesce($2, name), key_policy = coalesce($3, key_policy),
                      time_zone = coalesce($4, time_zone), status = coalesce($5, status),
                      client_leaves = coalesce($6, client_leaves)
WHERE id = $1
RETURNING id, name, shard, key_policy, time_zone, client_leaves, status, created_at
"""
SHARDS = "SELECT id, shard FROM workspaces WHERE id = ANY($1::uuid[])"
ANY_WORKSPACE = "SELECT EXISTS (SELECT 1 FROM workspaces)"
# Any constant that nobody else locks: "firststr".
FIRST_START_LOCK = 0x6669727374737472
LOCK = "SELECT pg_advisory_xact_lock($1)"
ZONE_IS_KNOWN = "SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = $1)"


async def insert_workspace(
    db: Connection, *, id: UUID, name: str, shard: int, key_policy: KeyPolicy, time_zone: str, client_leaves: ClientLeaves
) -> Workspace:
    row = await db.fetchrow(INSERT_WORKSPACE, id, name, shard, key_policy, time_zone, client_leaves, timeout=QUERY_S)
    assert row is not None
    return _workspace(row)


async def get_workspace(db: Connection, id: UUID, *, reach: UUID | None) -> Workspace | None:
    row = await db.fetchrow(GET_WORKSPACE, id, reach, timeout=QUERY_S)
    return None if row is None else _workspace(row)


async def list_workspaces(
    db: Connection, *, reach: UUID | None, name: str | None, status: Status | None, page: Page
) -> list[Workspace]:
    rows = await db.fetch(LIST_WORKSPACES.of(page), reach, name, status, page.after, page.limit + 1, timeout=QUERY_S)
    return [_workspace(row) for row in rows]


async def update_workspace(
    db: Connection,
    id: UUID,
    *,
    name: str | None = None,
    key_policy: KeyPolicy | None = None,
    time_zone: str | None = None,
    status: Status | None = None,
    client_leaves: ClientLeaves | None = None,
) -> Workspace | None:
    """What is None stays as it is."""
    row = await db.fetchrow(UPDATE_WORKSPACE, id, name, key_policy, time_zone, status, client_leaves, timeout=QUERY_S)
    return None if row is None else _workspace(row)


async def shards_of(db: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    return {row["id"]: row["shard"] for row in await db.fetch(SHARDS, ids, timeout=QUERY_S)}


async def any_workspace(db: Connection) -> bool:
    return bool(await db.fetchval(ANY_WORKSPACE, timeout=QUERY_S))


async def lock_first_start(db: Connection) -> None:
    """Until the transaction ends."""
    await db.execute(LOCK, FIRST_START_LOCK, timeout=QUERY_S)


async def zone_is_known(db: Connection, name: str) -> bool:
    return bool(await db.fetchval(ZONE_IS_KNOWN, name, timeout=QUERY_S))


# -- users ----------------------------------------------------------------------------------------------------------

INSERT_USER = """
INSERT INTO users (id, email, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
RETURNING id, email, name, status, created_at
"""
# A user is known to a workspace as a member, and afterwards as the holder of a key in it.
GET_USER = """
SELECT id, email, name, status, created_at FROM users u
WHERE id = $1 AND ($2::uuid IS NULL
  OR EXISTS (SELECT 1 FROM memberships m WHERE m.workspace_id = $2 AND m.user_id = u.id)
  OR EXISTS (SELECT 1 FROM virtual_keys k WHERE k.workspace_id = $2 AND k.user_id = u.id))
"""
LIST_USERS = keyset("""
SELECT id, email, name, status, created_at FROM users u
WHERE ($1::uuid IS NULL OR EXISTS (SELECT 1 FROM memberships m WHERE m.workspace_id = $1 AND m.user_id = u.id))
  AND ($2::text IS NULL OR lower(email) = lower($2)) AND ($3::text IS NULL OR name = $3)
  AND ($4::text IS NULL OR status = $4) AND ($5::uuid IS NULL OR id <beyond> $5)
ORDER BY id <order> LIMIT $6
""")
UPDATE_USER = """
UPDATE users SET email = coalesce($2, email), name = coalesce($3, name), status = coalesce($4, status)
WHERE id = $1
RETURNING id, email, name, status, created_at
"""
WORKSPACES_OF_USER = """
SELECT workspace_id FROM memberships WHERE user_id = $1 UNION SELECT workspace_id FROM virtual_keys WHERE user_id = $1
"""


async def insert_user(db: Connection, *, id: UUID, email: str, name: str) -> User | None:
    """None where the email is taken."""
    row = await db.fetchrow(INSERT_USER, id, email, name, timeout=QUERY_S)
    return None if row is None else _user(row)


async def get_user(db: Connection, id: UUID, *, reach: UUID | None) -> User | None:
    row = await db.fetchrow(GET_USER, id, reach, timeout=QUERY_S)
    return None if row is None else _user(row)


async def list_users(
    db: Connection, *, reach: UUID | None, email: str | None, name: str | None, status: Status | None, page: Page
) -> list[User]:
    """Members of the workspace; of all workspaces for the platform."""
    rows = await db.fetch(LIST_USERS.of(page), reach, email, name, status, page.after, page.limit + 1, timeout=QUERY_S)
    return [_user(row) for row in rows]


async def update_user(
    db: Connection, id: UUID, *, email: str | None = None, name: str | None = None, status: Status | None = None
) -> User | None:
    """None where the user is not there. Raises `EmailTaken`, which leaves the transaction usable."""
    try:
        async with db.transaction():
            row = await db.fetchrow(UPDATE_USER, id, email, name, status, timeout=QUERY_S)
    except exceptions.UniqueViolationError as error:
        raise EmailTaken from error
    return None if row is None else _user(row)


async def workspaces_of_user(db: Connection, id: UUID) -> frozenset[UUID]:
    return frozenset(row["workspace_id"] for row in await db.fetch(WORKSPACES_OF_USER, id, timeout=QUERY_S))


# -- memberships ----------------------------------------------------------------------------------------------------

INSERT_MEMBER = """
INSERT INTO memberships (workspace_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING user_id
"""
GET_MEMBER = """
SELECT m.workspace_id, m.user_id, m.role, u.email, u.name, m.created_at
FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND m.user_id = $2
"""
LOCK_MEMBER = "SELECT role FROM memberships WHERE workspace_id = $1 AND user_id = $2 FOR UPDATE"
LIST_MEMBERS = keyset("""
SELECT m.workspace_id, m.user_id, m.role, u.email, u.name, m.created_at
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.workspace_id = $1 AND ($2::text IS NULL OR m.role = $2) AND ($3::uuid IS NULL OR m.user_id = $3)
  AND ($4::uuid IS NULL OR m.user_id <beyond> $4)
ORDER BY m.user_id <order> LIMIT $5
""")
UPDATE_MEMBER = "UPDATE memberships SET role = $3 WHERE workspace_id = $1 AND user_id = $2"
DELETE_MEMBER = "DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2"


async def insert_member(db: Connection, *, workspace_id: UUID, user_id: UUID, role: WorkspaceRole) -> bool:
    """False where the user is a member already."""
    return await db.fetchval(INSERT_MEMBER, workspace_id, user_id, role, timeout=QUERY_S) is not None


async def get_member(db: Connection, *, workspace_id: UUID, user_id: UUID) -> Member | None:
    row = await db.fetchrow(GET_MEMBER, workspace_id, user_id, timeout=QUERY_S)
    return None if row is None else _member(row)


async def lock_member(db: Connection, *, workspace_id: UUID, user_id: UUID) -> WorkspaceRole | None:
    """The role, which nobody else changes until the transaction ends."""
    role: WorkspaceRole | None = await db.fetchval(LOCK_MEMBER, workspace_id, user_id, timeout=QUERY_S)
    return role


async def list_members(
    db: Connection, *, workspace_id: UUID, role: WorkspaceRole | None, user_id: UUID | None, page: Page
) -> list[Member]:
    """Ordered by user id."""
    rows = await db.fetch(
        LIST_MEMBERS.of(page), workspace_id, role, user_id, page.after, page.limit + 1, timeout=QUERY_S
    )
    return [_member(row) for row in rows]


async def update_member(db: Connection, *, workspace_id: UUID, user_id: UUID, role: WorkspaceRole) -> None:
    await db.execute(UPDATE_MEMBER, workspace_id, user_id, role, timeout=QUERY_S)


async def delete_member(db: Connection, *, workspace_id: UUID, user_id: UUID) -> None:
    await db.execute(DELETE_MEMBER, workspace_id, user_id, timeout=QUERY_S)


def _workspace(row: Record) -> Workspace:
    return Workspace(**dict(row))


def _user(row: Record) -> User:
    return User(**dict(row))


def _member(row: Record) -> Member:
    return Member(**dict(row))
