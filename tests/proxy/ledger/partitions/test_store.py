"""Partitions of usage_events, beside readers and beside other makers."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from proxy.ledger.partitions import store
from proxy.storage.away import StoreAway

DAY = date(2031, 5, 6)


async def test_a_day_holds_its_utc_day_and_has_the_parents_indexes(pool):
    async with pool.acquire() as conn:
        assert await store.ensure(conn, [DAY]) == {DAY}
        assert await store.ensure(conn, [DAY]) == {DAY}
        assert await store.existing(conn) >= {DAY}
        bound = await conn.fetchval(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'usage_events_20310506'"
        )
        assert bound == "FOR VALUES FROM ('2031-05-06 00:00:00+00') TO ('2031-05-07 00:00:00+00')"
        attached = await conn.fetchval(
            "SELECT count(*) FROM pg_inherits WHERE inhrelid IN "
            "(SELECT indexrelid FROM pg_index WHERE indrelid = 'usage_events_20310506'::regclass)"
        )
        assert attached == 3


async def test_makers_at_once_are_safe(pool):
    days = {DAY + timedelta(days=number) for number in range(5)}

    async def make() -> set[date]:
        async with pool.acquire() as conn:
            return await store.ensure(conn, days)

    assert await asyncio.gather(*(make() for _ in range(5))) == [days] * 5


async def test_an_open_cursor_does_not_hold_it_up(pool, ledger, event):
    """CREATE … PARTITION OF would wait here until lock_timeout."""
    today = datetime.now(UTC)
    await ledger.add(event())
    await ledger.settle()
    async with pool.acquire() as reader, reader.transaction():
        cursor = await reader.cursor("SELECT * FROM usage_events")
        assert await cursor.fetch(1)
        back_dated = today - timedelta(days=60)
        await ledger.add(event(at_ms=int(back_dated.timestamp() * 1000)))
        await ledger.settle()
    assert [row["occurred_at"].date() for row in await ledger.rows(order="occurred_at")] == [
        back_dated.date(),
        today.date(),
    ]


async def test_a_table_of_the_name_that_stands_apart_is_said(pool):
    await pool.execute("CREATE TABLE usage_events_20310506 (x int)")
    async with pool.acquire() as conn:
        assert await store.ensure(conn, [DAY, DAY + timedelta(days=1)]) == {DAY + timedelta(days=1)}


async def test_entries_of_a_day_that_somebody_keeps_apart_are_dead_letters(pool, ledger, event):
    day = datetime.now(UTC) - timedelta(days=50)
    await pool.execute(f"CREATE TABLE usage_events_{day:%Y%m%d} (x int)")
    await ledger.add(event(), event(at_ms=int(day.timestamp() * 1000)), event())
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    [letter] = await ledger.rows("dead_letters")
    assert letter["error"].startswith("no partition")


async def test_a_partition_that_was_dropped_is_made_again(pool, ledger, event):
    await ledger.add(event())
    await ledger.settle()
    await pool.execute(f"DROP TABLE usage_events_{datetime.now(UTC):%Y%m%d}")
    await ledger.add(event())
    await ledger.settle()
    assert len(await ledger.rows()) == 1
    assert await ledger.rows("dead_letters") == []


async def test_a_lock_that_is_not_given_is_not_waited_for_for_ever(pool, monkeypatch):
    monkeypatch.setattr(store, "_BOUNDS", "SET LOCAL lock_timeout = '50ms'")
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE usage_events IN SHARE MODE")
        async with pool.acquire() as conn:
            with pytest.raises(StoreAway, match="LockNotAvailable|55P03"):
                await store.ensure(conn, [DAY])
