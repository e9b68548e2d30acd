"""SQL of `provider_objects`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import exceptions

from proxy.objects.kinds import Account
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, SCHEMA_MISSING, Connection
from proxy.wire.ids import NIL

QUERY_S = 5.0

# Rows of others are read only where they lie on our account: that is where an id could reach what is theirs.
FIND = """
SELECT workspace_id = $1 AS is_own, provider, user_variable_id, kind, object_id, last_used_at FROM provider_objects
WHERE object_id = ANY($2::text[]) AND (workspace_id = $1 OR user_variable_id = $3)
  AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY id DESC
"""
# A row that is there already stays its owner's; for the owner it lives as long as the longer of both.
RECORD = """
INSERT INTO provider_objects AS there (id, workspace_id, provider, user_variable_id, kind, object_id, expires_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[])
ON CONFLICT (object_id, kind, provider, user_variable_id) DO UPDATE
SET expires_at = CASE WHEN there.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                      ELSE greatest(there.expires_at, excluded.expires_at) END
WHERE there.workspace_id = excluded.workspace_id
RETURNING workspace_id, provider, user_variable_id, kind, object_id, deleted_at IS NULL AS is_there
"""
ADD = """
INSERT INTO provider_objects (id, workspace_id, provider, user_variable_id, kind, object_id, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
RETURNING id, workspace_id, provider, user_variable_id, kind, object_id, created_at, last_used_at, expires_at, deleted_at
"""
FORGET = """
UPDATE provider_objects SET deleted_at = now()
WHERE workspace_id = $1 AND object_id = $2 AND kind = $3 AND provider = $4 AND user_variable_id = $5 AND deleted_at IS NULL
"""
# The number of days that `kinds.KEPT` is.
TOUCH = """
UPDATE provider_objects AS there
SET last_used_at = now(), expires_at = CASE WHEN expires_at IS NULL THEN NULL
                                            ELSE greatest(expires_at, now() + interval '35 days') END
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[])
     AS used (workspace_id, provider, user_variable_id, kind, object_id)
WHERE there.object_id = used.object_id AND there.kind = used.kind AND there.provider = used.provider
  AND there.user_variable_id = used.user_variable_id AND there.workspace_id = used.workspace_id
"""
PURGE = """
DELETE FROM provider_objects WHERE id = ANY(
    ARRAY(SELECT id FROM provider_objects WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)
    || ARRAY(SELECT id FROM provider_objects WHERE deleted_at < now() - make_interval(days => $2) LIMIT $1
             FOR UPDATE SKIP LOCKED))
"""
LIST = keyset("""
SELECT id, workspace_id, provider, user_variable_id, kind, object_id, created_at, last_used_at, expires_at, deleted_at
FROM provider_objects
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR provider = $2) AND ($3::text IS NULL OR kind = $3)
  AND ($4::text IS NULL OR object_id = $4) AND ($5::uuid IS NULL OR user_variable_id = $5)
  AND ($6 OR deleted_at IS NULL) AND ($7::uuid IS NULL OR id <beyond> $7)
ORDER BY id <order> LIMIT $8
""")


class Unwritable(Exception):
    """Postgres is there and refuses this value: trying again will not help."""


class Row(NamedTuple):
    """What is to be written."""

    id: UUID
    workspace_id: UUID
    account: Account
    kind: str
    object_id: str
    expires_at: datetime | None

    @property
    def key(self) -> tuple[UUID, Account, str, str]:
        return self.workspace_id, self.account, self.kind, self.object_id


class Found(NamedTuple):
    is_own: bool
    account: Account
    kind: str
    object_id: str
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderObject:
    """`user_variable_id` nil: our account."""

    id: UUID
    workspace_id: UUID
    provider: str
    user_variable_id: UUID
    kind: str
    object_id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime | None
    deleted_at: datetime | None


async def find(db: Connection, *, workspace_id: UUID, object_ids: Sequence[str]) -> list[Found]:
    """The workspace's own at whatever account, newest first, and others' on our account."""
    rows = await db.fetch(FIND, workspace_id, object_ids, NIL, timeout=QUERY_S)
    return [
        Found(
            row["is_own"],
            Account(row["provider"], row["user_variable_id"]),
            row["kind"],
            row["object_id"],
            row["last_used_at"],
        )
        for row in rows
    ]


async def record(db: Connection, rows: Sequence[Row]) -> dict[tuple[UUID, Account, str, str], bool]:
    """Which of the rows are now their workspace's, and whether they are not deleted; the others were another's before.

    Rows are unique by account, kind and id. Raises `Unwritable`. In one order, so that two writers cannot lock each other out.
    """
    ordered = sorted(rows, key=lambda row: (row.object_id, row.kind, row.account))
    columns = (
        [row.id for row in ordered],
        [row.workspace_id for row in ordered],
        [row.account.provider for row in ordered],
        [row.account.user_variable_id for row in ordered],
        [row.kind for row in ordered],
        [row.object_id for row in ordered],
        [row.expires_at for row in ordered],
    )
    try:
        found = await db.fetch(RECORD, *columns, timeout=QUERY_S)
    except (*POSTGRES_AWAY, *POSTGRES_BUSY, *SCHEMA_MISSING):
        raise
    except (exceptions.PostgresError, exceptions.DataError) as error:
        raise Unwritable(str(error)) from error
    return {
        (row["workspace_id"], Account(row["provider"], row["user_variable_id"]), row["kind"], row["object_id"]): row[
            "is_there"
        ]
        for row in found
    }


async def add(db: Connection, row: Row) -> ProviderObject | None:
    """None where it is recorded already, for whomever."""
    added = await db.fetchrow(
        ADD, row.id, row.workspace_id, *row.account, row.kind, row.object_id, row.expires_at, timeout=QUERY_S
    )
    return None if added is None else ProviderObject(**dict(added))


async def forget(db: Connection, *, workspace_id: UUID, account: Account, kind: str, object_id: str) -> None:
    await db.execute(FORGET, workspace_id, object_id, kind, *account, timeout=QUERY_S)


async def touch(db: Connection, used: Sequence[tuple[UUID, Account, str, str]]) -> None:
    columns = (
        [workspace_id for workspace_id, _, _, _ in used],
        [account.provider for _, account, _, _ in used],
        [account.user_variable_id for _, account, _, _ in used],
        [kind for _, _, kind, _ in used],
        [object_id for _, _, _, object_id in used],
    )
    await db.execute(TOUCH, *columns, timeout=QUERY_S)


async def purge(db: Connection, *, most: int, deleted_for_days: int) -> int:
    """What has expired, and what was deleted so long ago. At most twice `most`; how many it was."""
    done: str = await db.execute(PURGE, most, deleted_for_days, timeout=QUERY_S)
    return int(done.rpartition(" ")[2])


async def list_objects(
    db: Connection,
    *,
    reach: UUID | None,
    provider: str | None,
    kind: str | None,
    object_id: str | None,
    user_variable_id: UUID | None,
    with_deleted: bool,
    page: Page,
) -> list[ProviderObject]:
    rows = await db.fetch(
        LIST.of(page), reach, provider, kind, object_id, user_variable_id, with_deleted, page.after, page.limit + 1,
        timeout=QUERY_S,
    )  # fmt: skip
    return [ProviderObject(**dict(row)) for row in rows]
