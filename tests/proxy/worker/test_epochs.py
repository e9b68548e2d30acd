"""What a dead management process did not publish is published within a second."""

from __future__ import annotations

from proxy.epochs import store as epochs_store
from proxy.epochs.keys import GLOBAL, epoch_key
from proxy.storage.redis import open_redis
from proxy.worker.epochs import EpochsLoop


async def test_all_at_first_then_the_recent_ones(pool, workspace, redis_url):
    mine, old = await workspace(0), await workspace(1)
    async with open_redis(redis_url) as redis:
        loop = EpochsLoop(pool, redis, shards=[0, 1])
        assert await loop.publish() == 4  # two workspaces, the global one in two shards
        await pool.execute("UPDATE epochs SET changed_at = now() - interval '1 day'")
        await redis.delete(epoch_key(1, old))
        async with pool.acquire() as conn:
            await epochs_store.bump(conn, mine)
            await epochs_store.bump(conn, GLOBAL)
        assert await loop.publish() == 3
        assert await redis.mget(epoch_key(0, mine), epoch_key(0, GLOBAL), epoch_key(1, GLOBAL)) == [b"2", b"2", b"2"]
        assert await redis.get(epoch_key(1, old)) is None
        loop.reconnected()
        assert await loop.publish() == 1
        assert await redis.get(epoch_key(1, old)) == b"1"


async def test_a_failure_is_followed_by_all(pool, workspace, run, until, redis_url, monkeypatch):
    mine = await workspace(0)
    await pool.execute("UPDATE epochs SET changed_at = now() - interval '1 day'")
    async with open_redis(redis_url) as redis:
        loop = EpochsLoop(pool, redis, shards=[0], every_s=0.01)
        assert await loop.publish() == 2
        await redis.flushall()
        await redis.lpush(epoch_key(0, GLOBAL), "no number")  # the script fails
        async with pool.acquire() as conn:
            await epochs_store.bump(conn, GLOBAL)
        run(loop)
        await until(lambda: failed(loop))
        await redis.delete(epoch_key(0, GLOBAL))
        await until(lambda: redis.get(epoch_key(0, mine)))


async def failed(loop: EpochsLoop) -> bool:
    return loop._all


async def test_the_loop_publishes_what_changes(pool, workspace, run, until, redis_url):
    async with open_redis(redis_url) as redis:
        run(EpochsLoop(pool, redis, shards=[0], every_s=0.01))
        mine = await workspace(0)
        await until(lambda: redis.get(epoch_key(0, mine)))
