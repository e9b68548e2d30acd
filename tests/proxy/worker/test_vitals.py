"""What a monitor is told: stores that answer and that do not, a ledger that stands still, a spool that fills."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from proxy.holds.keys import usage_key
from proxy.ledger.stream import UsageStream
from proxy.storage.postgres import Pool, open_pool
from proxy.storage.redis import open_redis
from proxy.telemetry.metrics import Metrics
from proxy.worker.vitals import Vitals
from tests.promises.house import eventually


def told(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def test_all_is_well(pool: Pool, redis_url: str, tmp_path: Path) -> None:
    metrics = Metrics()
    (tmp_path / "one.spool").write_bytes(b"x" * 100)
    (tmp_path / "two.spool.damaged").write_bytes(b"x" * 20)
    async with open_redis(redis_url) as redis:
        key = usage_key(0)
        now_ms = time.time_ns() // 1_000_000
        await redis.xadd(key, {"v": "1", "e": "{}"}, id=f"{now_ms - 90_000}-0")
        await redis.xadd(key, {"v": "1", "e": "{}"})
        vitals = Vitals(pool, redis, [UsageStream(redis, key)], tmp_path, metrics, role="worker")
        await vitals.look()
        found = told(metrics)
        assert found['synapscale_processes{role="worker"}'] == 1
        assert found['synapscale_store_up{store="postgres"}'] == found['synapscale_store_up{store="redis"}'] == 1
        assert found['synapscale_postgres_connections{state="limit"}'] == 8
        assert found['synapscale_stream_entries{shard="0"}'] == 2
        assert 90 <= found['synapscale_stream_oldest_seconds{shard="0"}'] < 150
        assert found["synapscale_spool_folder_bytes"] == 120
        assert found['synapscale_redis_memory_bytes{what="max"}'] == 256 << 20
        assert found['synapscale_redis_memory_bytes{what="used"}'] > 0
        # Read by the ledger and not acknowledged: still not in the tables.
        stream = UsageStream(redis, key)
        entries = (await stream.read()).entries
        await vitals.look()
        assert told(metrics)['synapscale_stream_oldest_seconds{shard="0"}'] >= 90
        await stream.ack([entry.id for entry in entries])
        await vitals.look()
        found = told(metrics)
        assert found['synapscale_stream_oldest_seconds{shard="0"}'] == 0
        assert found['synapscale_stream_entries{shard="0"}'] == 2  # they stay for the retention window


async def test_stores_that_are_away(tmp_path: Path) -> None:
    metrics = Metrics()
    pool = await open_pool("postgresql://nobody@127.0.0.1:9/gone", max_size=1, application_name="tests")
    redis = open_redis("redis://127.0.0.1:9/0", retries=0)
    await Vitals(pool, redis, [UsageStream(redis, "k")], tmp_path / "none", metrics, role="gateway").look()
    found = told(metrics)
    assert found['synapscale_store_up{store="postgres"}'] == found['synapscale_store_up{store="redis"}'] == 0
    assert found["synapscale_spool_folder_bytes"] == 0
    await redis.aclose()
    await pool.close()


async def test_a_pool_with_nothing_to_spare_counts_as_away(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.worker.vitals.ANSWER_S", 0.05)
    metrics = Metrics()
    pool = await open_pool(database_url, max_size=1, application_name="tests")
    async with open_redis(redis_url) as redis, pool.acquire():
        vitals = Vitals(pool, redis, [], tmp_path, metrics, role="gateway")
        await vitals.look()
        found = told(metrics)
    assert found['synapscale_store_up{store="postgres"}'] == 0
    assert found['synapscale_postgres_connections{state="used"}'] == 1
    await pool.close()


async def test_it_goes_on_looking_until_it_is_stopped(pool: Pool, redis_url: str, tmp_path: Path) -> None:
    metrics, stop = Metrics(), asyncio.Event()
    async with open_redis(redis_url) as redis:
        vitals = Vitals(pool, redis, [UsageStream(redis, usage_key(0))], tmp_path, metrics, role="worker", every_s=0.01)
        running = asyncio.ensure_future(vitals.run(stop))
        async def told_of(entries: int) -> bool:
            return told(metrics).get('synapscale_stream_entries{shard="0"}') == entries

        await eventually(partial(told_of, 0), "an empty stream is told of")
        await redis.xadd(usage_key(0), {"v": "1", "e": "{}"})
        await eventually(partial(told_of, 1), "its first entry is told of")
        stop.set()
        await asyncio.wait_for(running, 10)
