from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from proxy.epochs.keys import GLOBAL, epoch_key
from proxy.epochs.publish import publish
from proxy.storage.redis import Redis, open_redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url, decode_responses=True) as redis:
        yield redis


def shards_of(scope_id: UUID) -> list[int]:
    return [0, 1, 2] if scope_id == GLOBAL else [scope_id.int % 3]


def test_keys_carry_the_tag_of_their_shard() -> None:
    workspace = UUID(int=0xAB)
    assert epoch_key(5, workspace) == "{s5}:epoch:" + "0" * 30 + "ab"
    assert epoch_key(5, GLOBAL) == "{s5}:epoch:global"


async def test_raised_and_never_lowered(redis: Redis) -> None:
    workspace = uuid4()
    key = epoch_key(workspace.int % 3, workspace)
    for given, raised, there in [(3, 1, "3"), (3, 0, "3"), (2, 0, "3"), (10, 1, "10"), (9, 0, "10")]:
        assert await publish(redis, shards_of, {workspace: given}) == raised
        assert await redis.get(key) == there


async def test_the_global_epoch_goes_to_every_shard(redis: Redis) -> None:
    assert await publish(redis, shards_of, {GLOBAL: 4}) == 3
    assert [await redis.get(epoch_key(shard, GLOBAL)) for shard in (0, 1, 2)] == ["4", "4", "4"]


async def test_many_at_once_and_after_the_script_was_forgotten(redis: Redis) -> None:
    epochs = {uuid4(): 7 for _ in range(2_000)}
    await publish(redis, shards_of, {GLOBAL: 1})
    await redis.script_flush()
    assert await publish(redis, shards_of, epochs) == 2_000
    assert await redis.get(epoch_key(*shards_of(scope := next(iter(epochs))), scope)) == "7"
