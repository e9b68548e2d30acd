from __future__ import annotations

from uuid import uuid4

from proxy.app.epoch_keeper import EpochKeeper
from proxy.epochs.keys import epoch_key
from proxy.storage.postgres import open_pool
from proxy.storage.redis import open_redis
from proxy.wire.ids import NIL


async def test_a_committed_block_is_told_although_postgres_went_away(redis_url: str) -> None:
    """Which shard a workspace is in is not known then: every shard is told."""
    nobody = await open_pool("postgresql://nobody@127.0.0.1:9/gone", max_size=1, application_name="tests")
    workspace = uuid4()
    async with open_redis(redis_url, decode_responses=True) as redis:
        await EpochKeeper(nobody, redis, shards=2).publish({workspace: 5, NIL: 7})
        for shard in (0, 1):
            assert await redis.get(epoch_key(shard, workspace)) == "5"
            assert await redis.get(epoch_key(shard, NIL)) == "7"
    await nobody.close()
