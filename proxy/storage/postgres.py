"""asyncpg pools without session state, and which of its errors mean "away" and not "wrong"."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, TypeAlias

import asyncpg
from asyncpg import exceptions
from asyncpg.pool import PoolConnectionProxy

from proxy.storage.away import StoreAway as StoreAway
from proxy.storage.connection import GatewayConnection, GatewayPool

Record: TypeAlias = asyncpg.Record
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

CONNECT_TIMEOUT_S = 10.0

# The server is gone, going, not up yet, full or no longer the primary. DataError and other InterfaceErrors are bugs or
# bad values and are not here. A server killed under a query shows as a lost connection or as InternalClientError.
POSTGRES_AWAY: tuple[type[BaseException], ...] = (
    StoreAway,
    exceptions.PostgresConnectionError,
    exceptions.CannotConnectNowError,
    exceptions.AdminShutdownError,
    exceptions.CrashShutdownError,
    exceptions.InsufficientResourcesError,
    exceptions.ReadOnlySQLTransactionError,
    exceptions.InternalClientError,
    OSError,  # TimeoutError is one since Python 3.10
)

# The server is there and somebody else was in the way: the same transaction may be tried again.
POSTGRES_BUSY: tuple[type[BaseException], ...] = (
    exceptions.SerializationError,
    exceptions.DeadlockDetectedError,
    exceptions.LockNotAvailableError,
    exceptions.QueryCanceledError,
)

# Not migrated, or not yet to this version.
SCHEMA_MISSING: tuple[type[BaseException], ...] = (exceptions.UndefinedTableError, exceptions.UndefinedColumnError)


async def open_pool(dsn: str, *, max_size: int, application_name: str) -> Pool:
    """A pool that connects when first used: opening it succeeds while Postgres is away.

    No statement cache (pgbouncer in transaction mode), UTC, no JIT. A command's timeout is given with the command.
    """
    return await GatewayPool(
        dsn,
        min_size=0,
        max_size=max_size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        statement_cache_size=0,
        loop=None,
        connection_class=GatewayConnection,
        record_class=asyncpg.Record,
        timeout=CONNECT_TIMEOUT_S,
        server_settings={"application_name": application_name, "timezone": "UTC"},
    )


async def connect(dsn: str, *, application_name: str, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """One connection outside any pool, with the same rules: migrations, checks, the command line."""
    return await asyncpg.connect(
        dsn,
        statement_cache_size=0,
        connection_class=GatewayConnection,
        timeout=timeout_s,
        server_settings={"application_name": application_name, "timezone": "UTC"},
    )


class Connections(NamedTuple):
    """Of one process' pool."""

    used: int
    idle: int
    limit: int


def connections(pool: Pool) -> Connections:
    return Connections(pool.get_size() - pool.get_idle_size(), pool.get_idle_size(), pool.get_max_size())


async def answers(pool: Pool, *, within_s: float) -> bool:
    """Whether a query comes back; a pool that has no connection to spare within the time counts as away."""
    try:
        async with asyncio.timeout(within_s), pool.acquire() as conn:
            await conn.execute("SELECT 1")
    except POSTGRES_AWAY:
        return False
    return True
