"""migrations/*.sql, forward only, each in a transaction of its own, one runner at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from asyncpg import exceptions

from proxy.storage.postgres import Connection, connect

# Any constant that no other user of this database takes: "synapscl".
LOCK_ID = 0x73796E617073636C
LOWEST_SERVER = 150_000
# A migration must not queue behind a long query with the whole site queueing behind it: it gives up and comes again.
LOCK_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 600
TRIES = 6
PAUSE_S = 1.0

LEDGER_OF_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The schema cannot be brought to this version; the message says why and what to do."""


class Migration(NamedTuple):
    name: str
    sql: str
    digest: str


def shipped() -> list[Migration]:
    """The migrations of this version, in order."""
    spec = find_spec("migrations")
    if spec is None or not spec.submodule_search_locations:
        raise MigrationError("the package `migrations` is missing beside `proxy`: install synapscale-gateway again")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return [read(path.name, path.read_text("utf-8")) for path in sorted(folder.glob("*.sql"))]


def read(name: str, sql: str) -> Migration:
    return Migration(name.removesuffix(".sql"), sql, hashlib.sha256(sql.encode()).hexdigest())


async def pending(conn: Connection, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Names that this version ships and the database lacks. What a newer version applied is not ours to judge."""
    wanted = shipped() if migrations is None else migrations
    if await conn.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return [migration.name for migration in wanted]
    applied = await _applied(conn)
    return [migration.name for migration in wanted if migration.name not in applied]


async def migrate(dsn: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing; return its names. Safe to run twice and from many places at once."""
    wanted = shipped() if migrations is None else migrations
    conn = await connect(dsn, application_name="synapscale migrate")
    try:
        version = int(await conn.fetchval("SHOW server_version_num"))
        if version < LOWEST_SERVER:
            raise MigrationError(f"Postgres {version // 10_000} is too old: 15 or newer is needed")
        return [migration.name for migration in wanted if await _apply_patiently(conn, migration)]
    finally:
        await conn.close(timeout=5)


async def _apply_patiently(conn: Connection, migration: Migration) -> bool:
    for _ in range(TRIES - 1):
        try:
            return await _apply(conn, migration)
        except exceptions.LockNotAvailableError:
            await asyncio.sleep(PAUSE_S)
    try:
        return await _apply(conn, migration)
    except exceptions.LockNotAvailableError as error:
        raise MigrationError(
            f"migration {migration.name}: a table stayed locked by another session. Nothing was changed. Look for long "
            "transactions in pg_stat_activity, then run `synapscale migrate` again"
        ) from error


async def _apply(conn: Connection, migration: Migration) -> bool:
    async with conn.transaction():
        # Transaction locks, not session locks: they work through pgbouncer and cannot be left behind.
        await conn.execute(f"SET LOCAL lock_timeout = '{STATEMENT_TIMEOUT_S}s'")
        await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK_ID)
        await conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await conn.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
        await conn.execute("SET LOCAL client_min_messages = warning")
        await conn.execute(LEDGER_OF_MIGRATIONS)
        applied = (await _applied(conn)).get(migration.name)
        if applied == migration.digest:
            return False
        if applied is not None:
            raise MigrationError(
                f"migration {migration.name} was edited after it had been applied. Restore the file; a change of the "
                "schema is a new migration"
            )
        try:
            await conn.execute(migration.sql)
        except exceptions.LockNotAvailableError:
            raise
        except exceptions.PostgresError as error:
            raise MigrationError(f"migration {migration.name} failed and was rolled back: {error}") from error
        await conn.execute(
            "INSERT INTO schema_migrations (name, digest) VALUES ($1, $2)", migration.name, migration.digest
        )
        return True


async def _applied(conn: Connection) -> dict[str, str]:
    return {row["name"]: row["digest"] for row in await conn.fetch("SELECT name, digest FROM schema_migrations")}
