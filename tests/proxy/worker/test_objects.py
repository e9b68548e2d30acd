"""What is over is cleared away, in batches; what is not stays."""

from __future__ import annotations

import asyncio
from uuid import UUID

from proxy.objects import store
from proxy.objects.kinds import Account
from proxy.objects.store import Row
from proxy.storage.postgres import Pool
from proxy.worker.objects import ObjectsLoop
from tests.management import Deployment


async def fill(pool: Pool, count: int) -> UUID:
    deployment = Deployment(pool)
    workspace = await deployment.workspace()
    rows = [Row(deployment.id(), workspace, Account("openai"), "file", f"f{n}", None) for n in range(count)]
    async with pool.acquire() as db:
        await store.record(db, rows)
    return workspace


async def left(pool: Pool) -> set[str]:
    return {row["object_id"] for row in await pool.fetch("SELECT object_id FROM provider_objects")}


async def test_expired_and_long_deleted_ones_go(pool: Pool) -> None:
    await fill(pool, 6)
    for id, change in (
        ("f0", "expires_at = now() - interval '1 s'"), ("f1", "expires_at = now() + interval '1 h'"),
        ("f2", "deleted_at = now() - interval '31 days'"), ("f3", "deleted_at = now() - interval '29 days'"),
        ("f4", "expires_at = now() - interval '9 days', deleted_at = now() - interval '40 days'"),
    ):  # fmt: skip
        await pool.execute(f"UPDATE provider_objects SET {change} WHERE object_id = $1", id)
    await ObjectsLoop(pool).purge()
    assert await left(pool) == {"f1", "f3", "f5"}


async def test_a_full_batch_is_followed_by_another_at_once(pool: Pool, run, until) -> None:
    await fill(pool, 25)
    await pool.execute("UPDATE provider_objects SET expires_at = now() - interval '1 s' WHERE object_id <> 'f7'")
    run(ObjectsLoop(pool, every_s=3600, batch=4))

    async def only_one() -> bool:
        return await left(pool) == {"f7"}

    await until(only_one)


async def test_a_row_that_is_in_use_is_not_waited_for(pool: Pool) -> None:
    await fill(pool, 2)
    await pool.execute("UPDATE provider_objects SET expires_at = now() - interval '1 s'")
    async with pool.acquire() as db, db.transaction():
        await db.execute("SELECT 1 FROM provider_objects WHERE object_id = 'f0' FOR UPDATE")
        assert await asyncio.wait_for(ObjectsLoop(pool).purge(), 10) == 1
    assert await left(pool) == {"f0"}


async def test_the_loop_goes_on_after_failures(pool: Pool, run, until, caplog) -> None:
    await fill(pool, 1)
    await pool.execute("UPDATE provider_objects SET expires_at = now() - interval '1 s'")
    async with pool.acquire() as db:
        await db.execute("ALTER TABLE provider_objects RENAME TO away")
    run(ObjectsLoop(pool, every_s=0.02, retry_s=0.02))

    async def failed() -> bool:
        return "trying again" in caplog.text

    await until(failed)
    await pool.execute("ALTER TABLE away RENAME TO provider_objects")

    async def gone() -> bool:
        return await left(pool) == set()

    await until(gone)
