from __future__ import annotations

from pathlib import Path

import pytest

from proxy.storage.redis import REDIS_AWAY, open_redis


async def test_the_embedded_valkey_never_evicts_and_logs_every_write(redis_url: str) -> None:
    async with open_redis(redis_url) as redis:
        assert await redis.dbsize() == 0
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"
        assert int((await redis.config_get("maxmemory"))["maxmemory"]) > 0


async def test_a_server_that_is_not_there_is_away(tmp_path: Path) -> None:
    async with open_redis(f"unix://{tmp_path}/none.sock", retries=0) as redis:
        with pytest.raises(REDIS_AWAY):
            await redis.ping()
