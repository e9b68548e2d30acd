"""Only what nobody renewed, never what nobody could renew."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from proxy.holds.keys import holds_key, swept_key, usage_key
from proxy.storage.redis import open_redis
from proxy.wire.ids import uuid7
from proxy.worker.sweep import Reachable, SweepLoop


class Reached:
    """Drives `Reachable` by its own and the server's clock."""

    def __init__(self) -> None:
        self.reachable = Reachable(gap_s=10)
        self.steady_s, self.server_ms, self.gen = 1000.0, 5_000_000, "a"

    def later(self, seconds: float, *, server_s: float | None = None) -> float:
        self.steady_s += seconds
        self.server_ms += round((seconds if server_s is None else server_s) * 1000)
        return self.reachable.saw(self.steady_s, self.server_ms, self.gen)


def test_time_adds_up_while_nothing_breaks():
    reached = Reached()
    assert reached.later(0) == 0
    assert [reached.later(5) for _ in range(3)] == [5, 10, 15]


@pytest.mark.parametrize("what", ["error", "gen", "no gen", "gap", "server clock ahead", "server clock back"])
def test_a_break_begins_anew(what):
    reached = Reached()
    reached.later(0)
    assert reached.later(5) == 5
    match what:
        case "error":
            reached.reachable.broke()
            assert reached.later(1) == 0
        case "gen":
            reached.gen = "b"
            assert reached.later(1) == 0
        case "no gen":
            reached.gen = None
            assert reached.later(1) == 0
            assert reached.later(5) == 0
            reached.gen = "b"
            assert reached.later(1) == 0
        case "gap":
            assert reached.later(11) == 0
        case "server clock ahead":
            assert reached.later(1, server_s=100) == 0
        case "server clock back":
            assert reached.later(1, server_s=-100) == 0
    assert reached.later(2) == 2


async def announce(holds) -> object:
    attempt_id = uuid7(time.time_ns() // 1_000_000)
    reply = await holds.admit(holds.scope(0, uuid4()), attempt_id, b"stub", 1, 1, again=True)
    assert reply.kind == "held"
    return attempt_id


async def test_a_dead_attempt_is_settled_after_the_quiet_time(holds, metrics, until, redis_url):
    clock = [0.0]
    loop = SweepLoop(holds, metrics, shards=[0], lease_s=0.05, margin_s=100, gap_s=1000, steady_s=lambda: clock[0])
    async with open_redis(redis_url) as redis:
        attempt_id = await announce(holds)
        await holds.seed(0, "gen", {})

        async def over() -> bool:
            seconds, micros = await redis.time()
            lease = await redis.hget(holds_key(0), attempt_id.hex)
            return int(lease.partition(b"|")[0]) < seconds * 1000 + micros // 1000

        await until(over)
        assert await loop.look(0) == 0
        clock[0] = 99
        assert await loop.look(0) == 0, "reachable, but not for long enough"
        clock[0] = 101
        assert await loop.look(0) == 1
        assert await redis.exists(swept_key(0, attempt_id)) == 1
        [(_, fields)] = await redis.xrange(usage_key(0))
        assert fields == {b"v": b"1", b"e": b"stub"}
    assert metrics.counts["swept"] == 1


async def test_an_error_begins_the_quiet_time_anew(holds, metrics):
    clock = [0.0]
    loop = SweepLoop(holds, metrics, shards=[0], lease_s=0.05, margin_s=100, gap_s=1000, steady_s=lambda: clock[0])
    await holds.seed(0, "gen", {})
    await loop.look(0)
    server_ms = await holds.time_ms()
    clock[0] = 90
    await holds.bus.stop()
    assert await loop.look(0) == 0
    assert loop._reachable[0].saw(91, server_ms + 91_000, "gen") == 0


async def test_the_loop_sweeps(holds, metrics, run, until):
    await holds.seed(0, "gen", {})
    await announce(holds)
    run(SweepLoop(holds, metrics, shards=[0], lease_s=0.05, margin_s=0.05, look_s=0.01, sweep_every_s=0.01))

    async def swept() -> bool:
        return metrics.counts["swept"] == 1

    await until(swept)
