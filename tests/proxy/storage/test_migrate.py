from __future__ import annotations

import asyncio

import pytest

from proxy.storage import migrate as runner
from proxy.storage.migrate import MigrationError, migrate, pending, read
from proxy.storage.postgres import connect

FIRST = read("0001_first.sql", "CREATE TABLE one (id int); CREATE TABLE two (id int);")
SECOND = read("0002_second.sql", "ALTER TABLE one ADD COLUMN name text;")
BROKEN = read("0003_broken.sql", "CREATE TABLE three (id int); ALTER TABLE nowhere ADD COLUMN name text;")


async def fetchval(dsn: str, query: str) -> object:
    conn = await connect(dsn, application_name="tests")
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


async def test_each_is_applied_once_and_in_order(empty_database_url: str) -> None:
    assert await migrate(empty_database_url, [FIRST]) == ["0001_first"]
    assert await migrate(empty_database_url, [FIRST, SECOND]) == ["0002_second"]
    assert await migrate(empty_database_url, [FIRST, SECOND]) == []


async def test_pending_tells_what_is_missing_and_ignores_what_a_newer_version_did(empty_database_url: str) -> None:
    conn = await connect(empty_database_url, application_name="tests")
    assert await pending(conn, [FIRST, SECOND]) == ["0001_first", "0002_second"]
    await migrate(empty_database_url, [FIRST, SECOND])
    assert await pending(conn, [FIRST]) == []
    await conn.close()


async def test_a_failing_one_leaves_nothing_of_itself(empty_database_url: str) -> None:
    with pytest.raises(MigrationError, match="0003_broken"):
        await migrate(empty_database_url, [FIRST, BROKEN])
    assert await fetchval(empty_database_url, "SELECT to_regclass('three')") is None
    assert await fetchval(empty_database_url, "SELECT to_regclass('one') IS NOT NULL") is True
    assert await fetchval(empty_database_url, "SELECT array_agg(name) FROM schema_migrations") == ["0001_first"]


async def test_an_edited_one_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, [FIRST])
    with pytest.raises(MigrationError, match="edited"):
        await migrate(empty_database_url, [read("0001_first.sql", FIRST.sql + "-- more")])


async def test_many_runners_at_once_apply_each_exactly_once(empty_database_url: str) -> None:
    slow = read("0001_slow.sql", "CREATE TABLE one (id int); SELECT pg_sleep(0.05);")
    done = await asyncio.gather(*(migrate(empty_database_url, [slow, SECOND]) for _ in range(6)))
    assert sorted(name for names in done for name in names) == ["0001_slow", "0002_second"]


async def test_a_locked_table_is_waited_for_briefly_then_named(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LOCK_TIMEOUT_S", 1)
    monkeypatch.setattr(runner, "TRIES", 2)
    monkeypatch.setattr(runner, "PAUSE_S", 0)
    await migrate(empty_database_url, [FIRST])
    conn = await connect(empty_database_url, application_name="tests")
    async with conn.transaction():
        await conn.execute("SELECT * FROM one")
        with pytest.raises(MigrationError, match="stayed locked"):
            await migrate(empty_database_url, [FIRST, SECOND])
    assert await migrate(empty_database_url, [FIRST, SECOND]) == ["0002_second"]
    await conn.close()
