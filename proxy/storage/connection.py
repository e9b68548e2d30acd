"""asyncpg's pool and connection, less their session state, and with errors that tell a lost server from a wrong call.

asyncpg answers the use of a lost connection with a plain InterfaceError, the base of its usage and data errors, and
that error covers the one which names the reason. It does not leave an `acquire()` or `transaction()` block here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import asyncpg
from asyncpg import exceptions
from asyncpg.pool import PoolAcquireContext
from asyncpg.transaction import Transaction

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted", "serializable", "repeatable_read"]

if TYPE_CHECKING:  # generic classes in their stubs only
    from asyncpg.pool import PoolConnectionProxy

    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    _AcquireContext: TypeAlias = PoolAcquireContext[asyncpg.Record]
else:
    _Connection, _Pool, _AcquireContext = asyncpg.Connection, asyncpg.Pool, PoolAcquireContext


class GatewayTransaction(Transaction):
    def __init__(self, connection: _Connection, isolation: Isolation | None, readonly: bool, deferrable: bool) -> None:
        super().__init__(connection, isolation, readonly, deferrable)
        self._own_connection = connection

    async def __aexit__(self, extype: object, ex: object, tb: object) -> None:
        if isinstance(ex, exceptions.InternalClientError):
            # A COPY that begins as the server dies leaves asyncpg waiting for its answer: it refuses even the ROLLBACK.
            self._own_connection.terminate()
        if not self._own_connection.is_closed():
            await super().__aexit__(extype, ex, tb)
        elif extype is None:
            raise exceptions.ConnectionDoesNotExistError("the connection was lost before the transaction could commit")
        # else: nothing to roll back, and the error of the body says why


class GatewayConnection(_Connection):
    def get_reset_query(self) -> str:
        # No session state, nothing to reset: saves a trip per acquire. asyncpg rolls an open transaction back before.
        return ""

    def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False, deferrable: bool = False
    ) -> GatewayTransaction:
        self._check_open()
        return GatewayTransaction(self, isolation, readonly, deferrable)

    def _check_open(self) -> None:
        if self.is_closed():
            raise exceptions.ConnectionDoesNotExistError("the connection to Postgres is closed")


class GatewayAcquire(_AcquireContext):
    async def __aexit__(self, *exc: object) -> None:
        error = exc[1] if type(exc[1]) is exceptions.InterfaceError and _is_lost(self.connection) else None
        try:
            await super().__aexit__(*exc)
        except exceptions.InterfaceError as stuck:
            # Given back in the middle of an operation (its server was killed), it refuses the pool's ROLLBACK too.
            raise exceptions.ConnectionDoesNotExistError("the connection to Postgres was lost in use") from stuck
        if error is not None:
            raise exceptions.ConnectionDoesNotExistError("the connection to Postgres was lost") from error


class GatewayPool(_Pool):
    def acquire(self, *, timeout: float | None = None) -> GatewayAcquire:
        return GatewayAcquire(self, timeout)


def _is_lost(connection: PoolConnectionProxy[asyncpg.Record] | None) -> bool:
    try:
        return connection is None or connection.is_closed()
    except exceptions.InterfaceError:  # the pool took it back although its user has not left the block: it was lost
        return True
