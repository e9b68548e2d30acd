"""Hundreds of attempts through real desks while the line is cut, stalled and Redis is flushed: one final row each."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from uuid import UUID

import pytest

from proxy.holds.away import StoreAway
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.settlement.usage_event import decode
from tests.held import EPOCHS, SHARD, Seen, connected, new_attempt
from tests.line import Line
from tests.proxy.settlement.house import KNOWN, House, house_at

STORM_S = 3.0


class Storm:
    def __init__(self, seen: Seen, chance: random.Random) -> None:
        self.seen = seen
        self.chance = chance
        self.over = asyncio.Event()
        self.dispatched: set[UUID] = set()
        self.ledger: list[bytes] = []
        self.read_to = "0"

    async def client(self, house: House) -> None:
        while not self.over.is_set():
            attempt_id = new_attempt()
            try:
                reply = await house.open(attempt_id, KNOWN)
            except StoreAway:
                await asyncio.sleep(0.02)
                continue
            if reply.kind == "stale":  # epochs come back with the seeding
                await asyncio.sleep(0.02)
                continue
            self.dispatched.add(attempt_id)
            await asyncio.sleep(self.chance.random() * 0.1)
            await house.settling(attempt_id)

    async def ticker(self, house: House) -> None:
        while not self.over.is_set():
            house.desk.tick()
            await asyncio.sleep(0.05)

    async def worker(self, holds: Holds) -> None:
        """Seeds what is cold, reads what is new, and never sweeps: nobody died."""
        gens = 0
        while not self.over.is_set():
            await self.read()
            if await holds.gen(SHARD) is None:
                gens += 1
                await asyncio.sleep(0.05)
                await holds.seed(SHARD, f"gen-{gens}", EPOCHS)
            await asyncio.sleep(0.01)

    async def read(self) -> None:
        for entry_id, fields in await self.seen.redis.xrange(f"{{s{SHARD}}}:usage", min=f"({self.read_to}"):
            self.read_to = entry_id.decode()
            self.ledger.append(fields[b"e"])

    async def weather(self, line: Line) -> None:
        while not self.over.is_set():
            await asyncio.sleep(self.chance.random() * 0.3)
            match self.chance.choice(["cut", "cut after", "stall", "refuse", "flush"]):
                case "cut":
                    line.cut()
                case "cut after":
                    line.cut_after(self.chance.randrange(1, 400))
                case "stall":
                    line.stall()
                    await asyncio.sleep(self.chance.random() * 0.8)
                    line.resume()
                case "refuse":
                    line.refuse()
                    await asyncio.sleep(self.chance.random() * 0.3)
                    line.accept()
                case "flush":
                    # The ledger's stream restarts with it; what had not been read is for the rings to tell again.
                    await self.seen.redis.flushall()
                    self.read_to = "0"
        line.resume()
        line.accept()


@pytest.mark.parametrize("seed", range(4))
async def test_a_storm(redis_url: str, line: Line, seen: Seen, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    storm = Storm(seen, chance)
    line.delay_s = 0.01
    worker_bus = await connected(Bus(redis_url))
    worker = Holds(worker_bus)
    await worker.seed(SHARD, "gen-0", EPOCHS)
    settings = {"deadline_s": 0.5, "settle_deadline_s": 0.1, "renew_after_s": 0.2}
    async with (
        house_at(line.redis_url, tmp_path, **settings) as one,
        house_at(line.redis_url, tmp_path, **settings) as two,
    ):
        clients = [storm.client(house) for house in (one, two) for _ in range(15)]
        others = [storm.ticker(one), storm.ticker(two), storm.worker(worker), storm.weather(line)]
        tasks = [asyncio.get_running_loop().create_task(work) for work in (*clients, *others)]
        await asyncio.sleep(STORM_S)
        storm.over.set()
        await asyncio.gather(*tasks)
        line.resume()
        line.accept()
        for house in (one, two):
            assert await house.bus.wait_connected(10)
            house.desk.on_reconnect()
            recovery = house.desk._recovery
            while recovery._due or house.desk._voids.waiting or house.spool.waiting_bytes:
                house.desk.tick()
                await asyncio.sleep(0.02)
            assert not house.desk.in_flight
    await storm.read()
    assert len(storm.dispatched) > 100
    rows = [decode(row) for row in storm.ledger]
    assert {row.attempt_id for row in rows} == storm.dispatched
    assert {row.outcome for row in rows} == {"ok"}
    assert (
        set(await seen.holds()) <= storm.dispatched
    )  # zombies of settled attempts at most: the ledger knows their rows
    await worker_bus.stop()
