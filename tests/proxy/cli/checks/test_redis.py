"""Redis as `doctor` sees it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.cli.checks.redis import facts, redis
from proxy.storage.redis import open_redis

GOOD: dict[str, Any] = {
    "redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1, "maxmemory": 1000, "used_memory": 100,
}


async def test_the_embedded_one_is_well(redis_url: str) -> None:
    found = await redis(redis_url)
    assert {finding.state for finding in found} == {"ok"}, found
    assert found[0].found.startswith("Valkey 9.")


async def test_one_that_may_drop_events(redis_url: str) -> None:
    async with open_redis(redis_url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            bad = [finding for finding in await redis(redis_url) if finding.state == "bad"]
        finally:
            await client.config_set("maxmemory-policy", "noeviction")
    assert [finding.check for finding in bad] == ["Redis eviction"]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9/0", "http://x", "unix:///no/such/socket"])
async def test_no_server(url: str) -> None:
    (finding,) = await redis(url)
    assert finding.state == "bad" and finding.fix


@pytest.mark.parametrize(
    ("change", "check", "state"),
    [
        ({"redis_version": "6.2.14"}, "Redis", "bad"),
        ({"redis_version": "7.0.0"}, "Redis", "ok"),
        ({"redis_version": "6.9", "valkey_version": "8.1.0"}, "Redis", "ok"),
        ({"redis_version": "x"}, "Redis", "bad"),
        ({"aof_enabled": 0}, "Redis AOF", "bad"),
        ({"aof_last_write_status": "err"}, "Redis AOF", "bad"),
        ({"maxmemory": 0}, "Redis memory", "warn"),
        ({"used_memory": 700}, "Redis memory", "warn"),
        ({"used_memory": 850}, "Redis memory", "bad"),
        ({"maxmemory_policy": "volatile-lru"}, "Redis eviction", "bad"),
    ],
)
def test_facts(change: dict[str, Any], check: str, state: str) -> None:
    found = {finding.check: finding for finding in facts(GOOD | change)}
    assert found.pop(check).state == state
    assert {finding.state for finding in found.values()} == {"ok"}
