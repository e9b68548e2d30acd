from __future__ import annotations

from typing import Any

import pytest
from asyncpg import exceptions

from proxy.storage.connection import GatewayConnection
from proxy.storage.postgres import POSTGRES_AWAY, Pool, open_pool


async def test_pool_opens_lazily_in_utc_on_a_migrated_database(pool: Pool) -> None:
    async with pool.acquire() as conn:
        assert await conn.fetchval("SHOW timezone") == "UTC"
        assert await conn.fetchval("SELECT count(*) FROM workspaces") == 0


async def test_a_pool_opens_while_postgres_is_away_and_says_so_at_the_first_use(tmp_path) -> None:  # type: ignore[no-untyped-def]
    away = await open_pool(f"postgresql://nobody@/none?host={tmp_path}", max_size=1, application_name="tests")
    with pytest.raises(POSTGRES_AWAY):
        await away.fetchval("SELECT 1")
    await away.close()


async def test_a_bad_value_is_not_an_absent_server(pool: Pool) -> None:
    with pytest.raises(exceptions.DataError) as caught:
        await pool.fetchval("SELECT $1::int", "not a number")
    assert not isinstance(caught.value, POSTGRES_AWAY)


async def test_a_session_ended_inside_a_transaction_reads_as_away(pool: Pool) -> None:
    with pytest.raises(POSTGRES_AWAY):
        async with pool.acquire() as conn, conn.transaction():
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            async with pool.acquire() as other:
                await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await conn.execute("SELECT 1")
    assert await pool.fetchval("SELECT 1") == 1  # the pool has replaced it


async def test_a_copy_that_begins_as_the_server_dies_reads_as_away(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's last words have come, the end of the line has not."""
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"
    prepare = GatewayConnection._prepare

    async def prepare_and_die(conn: GatewayConnection, *arguments: Any, **options: Any) -> Any:
        statement = await prepare(conn, *arguments, **options)
        conn._protocol.data_received(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        return statement

    with pytest.raises(POSTGRES_AWAY):
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("CREATE TEMP TABLE copied (id int)")
            monkeypatch.setattr(GatewayConnection, "_prepare", prepare_and_die)
            await conn.copy_records_to_table("copied", records=[(1,)])
    assert await pool.fetchval("SELECT 1") == 1


async def test_an_open_transaction_does_not_reach_the_next_user(pool: Pool) -> None:
    async with pool.acquire() as conn:
        await conn.execute("BEGIN; CREATE TABLE left_open (id int)")
    async with pool.acquire() as conn:
        assert await conn.fetchval("SELECT to_regclass('left_open')") is None
