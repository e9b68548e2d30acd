"""Any order of what gateways, worker and Redis may do to a few attempts: one row each, and the right one.

The gateway here is a model of the desk's rules (what it knows, what it tells again); scripts and Redis are real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.settlement.usage_event import decode, encode
from proxy.storage.redis import open_redis
from tests.held import EPOCHS, SHARD, WORKSPACE, Seen, connected, event_of, new_attempt, stub_of

ATTEMPTS = 3
OPENING = ["open", "open, answer lost", "admit comes after its void"]
SETTLING = ["settle", "settle, answer lost", "settle, not sent", "die"]
EVERYTHING = [
    "announce again", "leases end and sweep", "sweep", "take back", "replay", "send ring", "flush", "flush, ledger had read all",
]  # fmt: skip
STEPS = 25


@dataclass
class World:
    holds: Holds
    seen: Seen
    ids: list[UUID] = field(default_factory=lambda: [new_attempt() for _ in range(ATTEMPTS)])
    in_flight: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)  # dispatched by a process that died then
    excused: set[int] = field(default_factory=set)  # died, and Redis lost its hold or its row: the stated limit
    doubtful: set[int] = field(default_factory=set)  # announced, answer lost, not dispatched, not taken back yet
    phantom: set[int] = field(default_factory=set)  # swept while doubtful: nobody could know that it was not dispatched
    started: set[int] = field(default_factory=set)
    ring: list[int] = field(default_factory=list)
    spool: list[int] = field(default_factory=list)
    ledger: list[dict[bytes, bytes]] = field(default_factory=list)
    gens: int = 0
    # Entries by the life of Redis in which they were written.
    eras: list[list[dict[bytes, bytes]]] = field(default_factory=list)

    def enabled(self) -> list[tuple[str, int]]:
        """What can happen now: an operation without effect would prove nothing."""
        unopened = set(range(ATTEMPTS)) - self.started
        again = self.settled - set(self.spool)
        return [
            *((op, i) for i in sorted(unopened) for op in OPENING),
            *((op, i) for i in sorted(self.in_flight) for op in SETTLING),
            *(("settle again", i) for i in sorted(again)),
            *([("renew", 0)] if self.in_flight else []),
            *((op, 0) for op in EVERYTHING),
        ]

    def final(self, i: int) -> bytes:
        return encode(event_of(self.ids[i], output_tokens=100 + i))

    async def admit(self, i: int, *, again: bool = False) -> str:
        scope = self.holds.scope(SHARD, WORKSPACE)
        known = (0, 0) if again else tuple(EPOCHS.values())
        return (await self.holds.admit(scope, self.ids[i], stub_of(self.ids[i]), *known, again=again)).kind

    async def do(self, op: str, i: int) -> None:
        match op:
            case "open":
                self.started.add(i)
                assert await self.admit(i) == "held"
                self.in_flight.add(i)
            case "open, answer lost":
                self.started.add(i)
                await self.admit(i)
                self.doubtful.add(i)
            case "admit comes after its void":
                self.started.add(i)
                await self.holds.void(SHARD, self.ids[i])
                assert await self.admit(i) == "swept"
            case "settle":
                self.settle(i)
                await self.holds.resend(SHARD, self.ids[i], self.final(i))
                self.ring.append(i)
            case "settle, answer lost":
                self.settle(i)
                await self.holds.resend(SHARD, self.ids[i], self.final(i))
                self.spool.append(i)
            case "settle, not sent":
                self.settle(i)
                self.spool.append(i)
            case "settle again":
                await self.holds.resend(SHARD, self.ids[i], self.final(i))
            case "die":
                self.in_flight.remove(i)
                self.dead.add(i)
            case "renew":
                scope = self.holds.scope(SHARD, WORKSPACE)
                await self.holds.renew(SHARD, [(self.ids[j], scope) for j in sorted(self.in_flight)])
            case "announce again":
                for j in sorted(self.in_flight):
                    assert await self.admit(j, again=True) in ("held", "swept")
            case "leases end and sweep":
                key = f"{{s{SHARD}}}:holds"
                for digits, value in (await self.seen.redis.hgetall(key)).items():
                    await self.seen.redis.hset(key, digits, b"1|" + value.split(b"|", 1)[1])
                swept = await self.holds.sweep(SHARD)
                self.phantom |= {j for j in self.doubtful if self.ids[j] in swept}
            case "sweep":
                assert await self.holds.sweep(SHARD) == []
            case "take back":
                for j in sorted(self.doubtful):
                    await self.holds.void(SHARD, self.ids[j])
                self.doubtful.clear()
            case "replay":
                for j in self.spool:
                    await self.holds.resend(SHARD, self.ids[j], self.final(j))
                self.ring += self.spool
                self.spool.clear()
            case "send ring":
                for j in self.ring:
                    await self.holds.resend(SHARD, self.ids[j], self.final(j))
            case "flush" | "flush, ledger had read all":
                await self.flush(read="read" in op)
            case _:
                raise AssertionError(f"no such operation: {op}")

    def settle(self, i: int) -> None:
        self.in_flight.remove(i)
        self.settled.add(i)

    async def flush(self, *, read: bool) -> None:
        entries = await self.seen.entries()
        self.eras.append(entries)
        if read:
            self.ledger += entries
        known = {decode(entry[b"e"]).attempt_id for entry in self.ledger}
        self.excused |= {i for i in self.dead if self.ids[i] not in known}
        await self.seen.redis.flushall()
        # What a gateway does on a changed gen, and the worker's seeding.
        await self.do("announce again", 0)
        await self.do("send ring", 0)
        await self.do("take back", 0)
        self.gens += 1
        await self.holds.seed(SHARD, f"gen-{self.gens}", EPOCHS)

    async def end(self) -> None:
        await self.do("take back", 0)
        await self.do("replay", 0)
        for i in sorted(self.in_flight):
            await self.do("settle", i)
        await self.do("leases end and sweep", 0)
        entries = await self.seen.entries()
        self.eras.append(entries)
        self.ledger += entries

    def rows(self) -> dict[UUID, bytes]:
        """As the ledger keeps them: the first, but a final event supersedes `abandoned`, once."""
        rows: dict[UUID, bytes] = {}
        for entry in self.ledger:
            incoming = decode(entry[b"e"])
            there = rows.get(incoming.attempt_id)
            if there is None or decode(there).outcome == "abandoned" != incoming.outcome:
                rows[incoming.attempt_id] = entry[b"e"]
        return rows


async def live(redis_url: str, data: st.DataObject, happened: Counter[str]) -> None:
    bus = await connected(Bus(redis_url))
    async with open_redis(redis_url) as redis:
        await redis.flushall()
        world = World(Holds(bus), Seen(redis))
        try:
            await world.holds.seed(SHARD, "gen-0", EPOCHS)
            for _ in range(data.draw(st.integers(1, STEPS), label="steps")):
                op, i = data.draw(st.sampled_from(world.enabled()), label="next")
                happened[op] += 1
                await world.do(op, i)
            await world.end()
            judge(world)
            assert await world.seen.holds() == {}
        finally:
            await bus.stop()


def judge(world: World) -> None:
    rows = world.rows()
    for i, attempt_id in enumerate(world.ids):
        row = rows.get(attempt_id)
        if i in world.settled:
            assert row is not None, "a settled attempt has no row"
            assert decode(row).outcome == "ok"
            assert decode(row).output_tokens == 100 + i
        elif i in world.dead and i not in world.excused:
            assert row is not None, "an attempt of a dead process has no row"
            assert decode(row).outcome == "abandoned"
        elif i not in world.dead and i not in world.phantom:
            assert row is None, "an attempt that was never dispatched has a row"
        # Counters move with an entry that is not late: at most once per attempt and life of Redis.
        for entries in world.eras:
            moved = [entry for entry in entries if b"l" not in entry and decode(entry[b"e"]).attempt_id == attempt_id]
            assert len(moved) <= 1, "counters would have moved twice"


def test_one_row_per_attempt(redis_url: str) -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def in_any_order(data: st.DataObject) -> None:
        asyncio.run(live(redis_url, data, happened))

    in_any_order()
    # A property over operations that never came proves nothing.
    assert set(happened) == {*OPENING, *SETTLING, *EVERYTHING, "settle again", "renew"}
