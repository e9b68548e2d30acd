"""Which of Postgres' errors are an entry's fault."""

from __future__ import annotations

import pytest
from asyncpg import exceptions

from proxy.ledger.store import Conflict, NoPartition, Poison, connection, sorted_errors
from proxy.storage.away import StoreAway


def of(state: str, **attributes: str) -> exceptions.PostgresError:
    fields = {"S": "ERROR", "C": state, "M": "said"} | attributes
    return exceptions.PostgresError.new(fields)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (of("22003"), Poison),  # numeric value out of range
        (of("23505", n="billing_events_once"), Poison),
        (of("23514", n="usage_events_outcome_check"), Poison),
        (of("54000"), Poison),  # index row too large
        (exceptions._base.DataError("no UUID"), Poison),
        (of("23514"), NoPartition),
        (of("40P01"), Conflict),
        (of("40001"), Conflict),
        (of("42703"), StoreAway),  # a column that a migration still has to bring
        (of("53100"), StoreAway),  # disk full
        (of("25006"), StoreAway),  # read only: a standby
        (of("57P01"), StoreAway),  # shutting down
        (of("55P03"), StoreAway),  # lock not available
        (exceptions.InterfaceError("cannot perform operation: another operation is in progress"), StoreAway),
        (exceptions.InternalClientError("cannot switch to state 15"), StoreAway),
        (ConnectionResetError(), StoreAway),
        (TimeoutError(), StoreAway),
        (StoreAway("Redis: gone"), StoreAway),
    ],
)
def test_only_values_are_poison(error, kind):
    with pytest.raises(kind), sorted_errors():
        raise error


def test_bugs_are_not_sorted():
    with pytest.raises(KeyError), sorted_errors():
        raise KeyError("x")


async def test_a_connection_killed_in_the_middle_of_a_query_is_away(pool):
    """What is raised by giving it back must not cover, or be taken for, anything else."""
    with pytest.raises(StoreAway):
        async with connection(pool) as conn, conn.transaction():
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            await pool.execute("SELECT pg_terminate_backend($1)", pid)
            await conn.execute("SELECT 1")
    async with connection(pool) as conn:
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_release_that_fails_is_away(pool, monkeypatch):
    async def busy(self, *, timeout=None):
        raise exceptions.InterfaceError("cannot perform operation: another operation is in progress")

    async with pool.acquire() as conn:
        kind = type(conn._con)
    monkeypatch.setattr(kind, "reset", busy)
    with pytest.raises(StoreAway, match="lost in use"):
        async with connection(pool) as conn:
            raise exceptions.InternalClientError("cannot switch to state 15")
