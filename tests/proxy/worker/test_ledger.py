"""The loop, and what its death, Postgres' and Valkey's leave behind: one row per attempt."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from proxy.holds.keys import usage_key
from proxy.ledger.stream import UsageStream
from proxy.ledger.writer import LedgerWriter
from proxy.settlement.usage_event import UsageEvent, encode
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.server import wait_ready
from proxy.storage.embedded.stores import Stores
from proxy.storage.migrate import migrate
from proxy.storage.postgres import connect, open_pool
from proxy.storage.redis import REDIS_AWAY, Redis, open_redis
from proxy.wire.ids import uuid7
from proxy.worker.ledger import LedgerLoop

CHILD = Path(__file__).with_name("ledger_child.py")
KEY = usage_key(0)
WITHIN_S = 60.0


class Watcher:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.pending = 0

    def written(self, *, inserted: int, changed: int, repeated: int) -> None: ...
    def buried(self, count: int) -> None: ...

    def failed(self, why: str) -> None:
        self.failures.append(why)

    def progress(self, shard: int, *, lag_s: float, pending: int, unknown: int) -> None:
        self.pending = pending


def event(attempt_id: UUID, outcome: str = "ok") -> bytes:
    """A final one costs 7, an abandoned one 1."""
    amount = 1 if outcome == "abandoned" else 7
    return encode(UsageEvent(
        attempt_id=attempt_id, request_id=attempt_id, workspace_id=UUID(int=1), user_id=UUID(int=2),
        virtual_key_id=UUID(int=3), llm="l", provider="p", upstream_model="m", surface="chat", key_source="global",
        provider_account="ours", usage_source="provider", outcome=outcome, units=["output"], quantities=[amount],
        price_item_ids=[None], line_list_pusd=[amount], line_charge_pusd=[amount], list_pusd=amount,
        charge_pusd=amount,
    ))  # fmt: skip


def attempt() -> UUID:
    return uuid7(time.time_ns() // 1_000_000)


async def add(redis: Redis, payload: bytes) -> None:
    await redis.xadd(KEY, {"v": "1", "e": payload})


async def until(true: Callable[[], object]) -> None:
    """Waits for what must come; how soon is not the point."""
    async with asyncio.timeout(WITHIN_S):
        while not await true():  # type: ignore[misc]  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.02)


async def drained(redis: Redis) -> bool:
    groups = await redis.xinfo_groups(KEY) if await redis.exists(KEY) else []
    return bool(groups) and groups[0]["pending"] == 0 and groups[0]["lag"] == 0


async def exact(database_url: str, attempts: int) -> None:
    """One row per attempt, each billed what it costs, and rollups that say the same."""
    conn = await connect(database_url, application_name="tests")
    try:
        assert await conn.fetchval("SELECT count(*) FROM usage_events") == attempts
        assert await conn.fetchval("SELECT count(*) FROM usage_events WHERE outcome <> 'ok'") == 0
        assert await conn.fetchval("SELECT sum(amount_pusd) FROM billing_events") == 7 * attempts
        assert await conn.fetchval("SELECT count(*) FROM dead_letters") == 0
        for table in ("usage_hourly", "usage_daily"):
            sums = await conn.fetch(f"SELECT unit, sum(quantity)::int AS n FROM {table} GROUP BY 1")
            found = {row["unit"]: row["n"] for row in sums if row["n"]}
            assert found == {"output": 7 * attempts, "requests": attempts}
    finally:
        await conn.close()


@asynccontextmanager
async def running(
    database_url: str, redis_url: str, *, stopped: bool = False, **pace: float
) -> AsyncIterator[Watcher]:
    stop, watcher = asyncio.Event(), Watcher()
    if stopped:
        stop.set()
    pool = await open_pool(database_url, max_size=2, application_name="tests")
    async with open_redis(redis_url) as redis:
        stream = UsageStream(redis, KEY)
        writer = LedgerWriter(pool, stream, watcher, shard=0, as_of_every_s=0)
        loop = LedgerLoop(writer, stream, shard=0, **pace)
        async with asyncio.TaskGroup() as tasks:  # a loop that dies ends the test here
            tasks.create_task(loop.run(stop))
            try:
                yield watcher
            finally:
                stop.set()
        await pool.close()


def child(database_url: str, redis_url: str, dies: str = "") -> subprocess.Popen[bytes]:
    argv = [sys.executable, str(CHILD), database_url, redis_url, dies]
    return subprocess.Popen(argv, cwd=Path(__file__).parents[3], env={"PYTHONPATH": "."})


async def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    await asyncio.to_thread(process.wait, WITHIN_S)


async def test_what_comes_is_written(database_url, redis_url):
    async with open_redis(redis_url) as redis, running(database_url, redis_url):
        for _ in range(3):
            await add(redis, event(attempt()))
            await until(lambda: drained(redis))
    await exact(database_url, 3)


async def test_a_stop_finishes_what_is_there(database_url, redis_url):
    async with open_redis(redis_url) as redis:
        for _ in range(3):
            await add(redis, event(attempt()))
        async with running(database_url, redis_url, stopped=True):
            pass
        assert await drained(redis)
    await exact(database_url, 3)


async def test_idle_it_says_so(database_url, redis_url):
    """`as_of` moves on although nothing comes."""
    conn = await connect(database_url, application_name="tests")
    async with running(database_url, redis_url, tick_s=0.01, block_s=0.01):
        seen: set[object] = set()

        async def moves_on() -> bool:
            seen.add(await conn.fetchval("SELECT as_of FROM ledger_positions"))
            return len(seen) > 4

        await until(moves_on)
    await conn.close()


@pytest.mark.parametrize("dies", ["before commit", "after commit"])
async def test_a_worker_killed_around_its_commit(database_url, redis_url, dies):
    attempts = [attempt() for _ in range(20)]
    async with open_redis(redis_url) as redis:
        for outcome in ("abandoned", "ok"):
            for one in attempts:
                await add(redis, event(one, outcome))
            process = child(database_url, redis_url, dies)
            assert await asyncio.to_thread(process.wait, WITHIN_S) == -signal.SIGKILL
            assert (await redis.xinfo_groups(KEY))[0]["pending"] > 0
            await expect_rows(database_url, 20 if dies == "after commit" else 0 if outcome == "abandoned" else 20)
            async with running(database_url, redis_url):
                await until(lambda: drained(redis))
    await exact(database_url, 20)


async def test_workers_killed_again_and_again_under_load(database_url, redis_url):
    """Two at a time, one killed every so often, while abandoned and final events and repetitions come."""
    attempts: list[UUID] = []
    async with open_redis(redis_url) as redis:
        workers = [child(database_url, redis_url) for _ in range(2)]
        for round_ in range(6):
            for _ in range(150):
                attempts.append(attempt())
                if len(attempts) % 3 == 0:
                    await add(redis, event(attempts[-1], "abandoned"))
                await add(redis, event(attempts[-1]))
                if len(attempts) % 5 == 0:
                    await add(redis, event(attempts[-4]))
            await asyncio.sleep(0.3)
            await end(workers[round_ % 2], signal.SIGKILL)
            workers[round_ % 2] = child(database_url, redis_url)
        await until(lambda: drained(redis))
        for worker in workers:
            await end(worker, signal.SIGTERM)
    await exact(database_url, len(attempts))


@pytest.fixture(params=[True, False], ids=["durable", "loses its last commits"])
def own_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """To be killed. Not durable: a killed Postgres forgets what it had acknowledged, as in a failover to a replica."""
    folder = Path(tempfile.mkdtemp(prefix="synapscale-tests-"))
    try:
        stores = Stores(DataFolder(folder), durable=request.param)
        stores.start()
        try:
            yield stores
        finally:
            stores.stop()
    finally:
        shutil.rmtree(folder)


async def kill_and_restart(stores: Stores, name: str) -> None:
    server = next(server for server in stores.servers if server.name == name)
    await end(stores.processes[name], signal.SIGKILL)
    async with asyncio.timeout(WITHIN_S):
        while True:
            stores.processes[name] = process = server.start()
            try:
                return await asyncio.to_thread(wait_ready, server, process, within_s=WITHIN_S)
            except StoreProblem:  # the killed one's children hold its shared memory for a moment
                await asyncio.sleep(0.05)


async def test_stores_killed_during_batches(own_stores):
    """Postgres and Valkey by turns, one worker all the while. What was acknowledged to us (XADD) has its row."""
    stores = own_stores
    await migrate(stores.database_url)
    conn = await connect(stores.database_url, application_name="tests")
    await conn.execute("CHECKPOINT")  # the tables themselves are not what may be lost
    await conn.close()
    attempts: list[UUID] = []
    async with open_redis(stores.redis_url) as redis:
        async with running(stores.database_url, stores.redis_url, linger_s=0.0) as watcher:
            for round_ in range(6):
                adding = asyncio.create_task(flood(redis, attempts, 400))
                await asyncio.sleep(0.15)
                await kill_and_restart(stores, "Valkey" if round_ == 3 else "Postgres")
                await adding
            await until(lambda: drained(redis))
        assert "postgres_away" in watcher.failures
    await exact(stores.database_url, len(attempts))


async def flood(redis: Redis, attempts: list[UUID], count: int) -> None:
    for _ in range(count):
        attempts.append(attempt())
        if len(attempts) % 3 == 0:
            await surely(redis, event(attempts[-1], "abandoned"))
        await surely(redis, event(attempts[-1]))


async def surely(redis: Redis, payload: bytes) -> None:
    """As a gateway does: sent again until it is acknowledged."""
    while True:
        try:
            return await add(redis, payload)
        except REDIS_AWAY:
            await asyncio.sleep(0.05)


async def expect_rows(database_url: str, count: int) -> None:
    conn = await connect(database_url, application_name="tests")
    try:
        assert await conn.fetchval("SELECT count(*) FROM usage_events") == count
    finally:
        await conn.close()
