from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from proxy.epochs import store
from proxy.epochs.keys import GLOBAL
from proxy.storage.postgres import Pool


async def test_bump_counts_from_one_by_scope(pool: Pool) -> None:
    one, other = uuid4(), uuid4()
    async with pool.acquire() as conn:
        before = (await store.read(conn, [GLOBAL]))[GLOBAL]
        assert [await store.bump(conn, one) for _ in range(3)] == [1, 2, 3]
        assert await store.bump(conn, other) == 1
        assert await store.bump(conn, GLOBAL) == before + 1
        assert await store.read(conn, [one, other, uuid4()]) == {one: 3, other: 1}
        assert await store.all_epochs(conn) == {GLOBAL: before + 1, one: 3, other: 1}


async def test_a_change_that_is_rolled_back_raises_nothing(pool: Pool) -> None:
    scope_id = uuid4()
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await store.bump(conn, scope_id)
        await transaction.rollback()
        assert await store.read(conn, [scope_id]) == {}


async def test_changes_at_once_are_all_counted(pool: Pool) -> None:
    scope_id = uuid4()

    async def change() -> int:
        async with pool.acquire() as conn, conn.transaction():
            return await store.bump(conn, scope_id)

    assert sorted(await asyncio.gather(*(change() for _ in range(8)))) == list(range(1, 9))


async def test_changed_since(pool: Pool) -> None:
    old, new = uuid4(), uuid4()
    async with pool.acquire() as conn:
        await store.bump(conn, old)
        await conn.execute("UPDATE epochs SET changed_at = now() - interval '1 hour'")
        await store.bump(conn, new)
        moment = datetime.now(UTC) - timedelta(minutes=1)
        assert await store.changed_since(conn, moment) == {new: 1}
