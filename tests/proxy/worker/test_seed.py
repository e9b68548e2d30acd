"""A shard that lost its gen is usable again, with every epoch it needs."""

from __future__ import annotations

from proxy.epochs import store as epochs_store
from proxy.epochs.keys import GLOBAL, epoch_key
from proxy.holds.keys import gen_key
from proxy.storage.redis import open_redis
from proxy.worker.seed import SeedLoop


def levels(caplog, text: str) -> list[str]:
    return [record.levelname for record in caplog.records if text in record.getMessage()]


async def test_a_flushed_shard_is_seeded_with_its_own_epochs(
    pool, holds, metrics, workspace, run, until, redis_url, caplog
):
    """An empty Redis at the start is no news; a shard that was seeded before has lost something."""
    caplog.set_level("INFO")
    mine, other = await workspace(0), await workspace(1)
    async with pool.acquire() as conn:
        await epochs_store.bump(conn, mine)
    run(SeedLoop(pool, holds, metrics, shards=[0, 1], look_s=0.01))

    async def seeded() -> bool:
        return None not in [await holds.gen(0), await holds.gen(1)]

    await until(seeded)
    async with open_redis(redis_url) as redis:
        for _ in range(2):
            assert await redis.mget(epoch_key(0, mine), epoch_key(0, GLOBAL)) == [b"2", b"1"]
            assert await redis.mget(epoch_key(1, other), epoch_key(1, GLOBAL)) == [b"1", b"1"]
            assert await redis.mget(epoch_key(0, other), epoch_key(1, mine)) == [None, None]
            before = await redis.get(gen_key(0))
            await redis.flushall()
            await until(seeded)
            assert await redis.get(gen_key(0)) != before
    assert metrics.counts["seeded"] == 6
    assert levels(caplog, "was empty and is seeded") == ["INFO"] * 2
    assert levels(caplog, "had lost its gen") == ["WARNING"] * 4


async def test_a_shard_that_was_found_seeded_is_missed_when_it_is_gone(
    pool, holds, metrics, run, until, redis_url, caplog
):
    caplog.set_level("INFO")
    async with open_redis(redis_url) as redis:
        await redis.set(gen_key(0), "here")
        run(SeedLoop(pool, holds, metrics, shards=[0], look_s=0.01))
        await until(lambda: redis.get(epoch_key(0, GLOBAL)))  # checked
        await redis.flushall()
        await until(lambda: holds.gen(0))
        await until(lambda: counted(metrics))
    assert levels(caplog, "had lost its gen") == ["WARNING"]
    assert levels(caplog, "was empty") == []


async def counted(metrics) -> int:
    return metrics.counts["seeded"]


async def test_two_workers_agree_on_a_gen_and_lower_no_epoch(pool, holds, metrics, workspace, run, until, redis_url):
    mine = await workspace(0)
    async with open_redis(redis_url) as redis:
        await redis.set(epoch_key(0, mine), 9)  # published by somebody who knows more
        for _ in range(2):
            run(SeedLoop(pool, holds, metrics, shards=[0], look_s=0.01))
        await until(lambda: holds.gen(0))
        assert await redis.get(epoch_key(0, mine)) == b"9"
    assert metrics.counts["seeded"] == 1


async def test_the_check_raises_unpublished_epochs(pool, holds, metrics, workspace, run, until, redis_url, caplog):
    caplog.set_level("INFO")
    mine = await workspace(0)
    async with open_redis(redis_url) as redis:
        await redis.set(gen_key(0), "here")
        run(SeedLoop(pool, holds, metrics, shards=[0], check_s=3600))
        await until(lambda: redis.get(epoch_key(0, mine)))
        assert await redis.get(gen_key(0)) == b"here"
        await until(lambda: told(caplog, 1))
    assert metrics.counts["seeded"] == 0
    assert levels(caplog, "epochs were behind") == ["INFO"]


async def test_epochs_that_are_behind_later_are_a_warning(
    pool, holds, metrics, workspace, run, until, redis_url, caplog
):
    """At the start a catalog sync has just raised one; while the worker runs, every change is published."""
    caplog.set_level("INFO")
    mine = await workspace(0)
    async with open_redis(redis_url) as redis:
        await redis.set(gen_key(0), "here")
        run(SeedLoop(pool, holds, metrics, shards=[0], look_s=0.01, check_s=0))
        await until(lambda: told(caplog, 1))
        async with pool.acquire() as conn:
            await epochs_store.bump(conn, mine)
        await until(lambda: told(caplog, 2))
    assert levels(caplog, "epochs were behind") == ["INFO", "WARNING"]


async def told(caplog, times: int) -> bool:
    return len(levels(caplog, "epochs were behind")) >= times


async def test_it_outlives_postgres(pool, holds, metrics, run, until, caplog):
    caplog.set_level("INFO")
    await pool.execute("ALTER TABLE epochs RENAME TO away")
    run(SeedLoop(pool, holds, metrics, shards=[0], look_s=0.01))

    async def failed() -> bool:
        return "seeding waits" in caplog.text

    await until(failed)
    assert await holds.gen(0) is None
    await pool.execute("ALTER TABLE away RENAME TO epochs")
    await until(lambda: holds.gen(0))
