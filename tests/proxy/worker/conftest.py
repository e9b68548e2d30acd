"""Holds on the test's Valkey, workspaces in the test's database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from proxy.epochs import store as epochs_store
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.storage.postgres import Pool

LEASE_MS = 50


class Recorder:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def swept(self, count: int) -> None:
        self.counts["swept"] += count

    def seeded(self, shard: int) -> None:
        self.counts["seeded"] += 1

    def adopted(self, records: int, damaged: int) -> None:
        self.counts.update(records=records, damaged=damaged)


@pytest.fixture
def metrics() -> Recorder:
    return Recorder()


@pytest.fixture
async def holds(redis_url: str) -> AsyncIterator[Holds]:
    bus = Bus(redis_url)
    await bus.start()
    assert await bus.wait_connected(10)
    yield Holds(bus, lease_ms=LEASE_MS)
    await bus.stop()


@pytest.fixture
def workspace(pool: Pool) -> Callable[[int], Awaitable[UUID]]:
    """Makes one in a shard, with an epoch."""

    async def make(shard: int) -> UUID:
        workspace_id = uuid4()
        async with pool.acquire() as conn:
            await conn.execute("INSERT INTO workspaces (id, name, shard) VALUES ($1, 'w', $2)", workspace_id, shard)
            await epochs_store.bump(conn, workspace_id)
        return workspace_id

    return make


@pytest.fixture
async def run() -> AsyncIterator[Callable[[object], None]]:
    """Starts a loop; it is stopped, and must end, with the test."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    yield lambda loop: tasks.append(asyncio.create_task(loop.run(stop)))  # type: ignore[attr-defined]
    stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 20)


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Waits for what must come; how soon is not the point."""

    async def wait(true: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(20):
            while not await true():  # noqa: ASYNC110 (what it waits for is in another process)
                await asyncio.sleep(0.01)

    return wait
