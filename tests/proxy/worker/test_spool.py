"""What a dead gateway left on this host's disk comes to the stream."""

from __future__ import annotations

import asyncio
import time

from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.holds.keys import usage_key
from proxy.settlement.spool import Spool
from proxy.storage.redis import open_redis
from proxy.wire.ids import uuid7
from proxy.worker.spool import SpoolLoop


async def test_an_orphan_is_adopted(holds, metrics, run, until, redis_url, tmp_path):
    spool = Spool.open(tmp_path, "dead")
    await spool.append(0, uuid7(time.time_ns() // 1_000_000), b"event")
    await spool.close()
    run(SpoolLoop(tmp_path, holds, metrics, every_s=0.02))

    async def adopted() -> bool:
        return metrics.counts["records"] == 1

    await until(adopted)
    async with open_redis(redis_url) as redis:
        [(_, fields)] = await redis.xrange(usage_key(0))
        assert fields[b"e"] == b"event"
    assert list(tmp_path.iterdir()) == []


async def test_it_waits_for_redis_and_not_a_whole_round_longer(holds, metrics, run, until, redis_url, tmp_path):
    spool = Spool.open(tmp_path, "dead")
    await spool.append(0, uuid7(time.time_ns() // 1_000_000), b"event")
    await spool.close()
    bus = Bus(redis_url)
    loop = SpoolLoop(tmp_path, Holds(bus), metrics, every_s=3600)
    assert not await loop._adopt()
    assert len(list(tmp_path.iterdir())) == 1
    assert metrics.counts["records"] == 0
    run(loop)
    await asyncio.sleep(0.05)
    await bus.start()

    async def adopted() -> bool:
        return metrics.counts["records"] == 1

    await until(adopted)
    await bus.stop()
