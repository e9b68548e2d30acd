"""After Redis was away, flushed or failed over: what this process knows is told again, in bounded steps.

Announcements of what is in flight first, then the events of the last minute, then what was to be taken back. What Redis
knew already is told in vain and harmlessly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from proxy.holds.away import StoreAway
from proxy.holds.client import Holds
from proxy.holds.together import together
from proxy.settlement.flights import Flight, Voids
from proxy.settlement.resend import send_again
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool, SpoolFailed
from proxy.settlement.spool_lines import VOID, Record

log = logging.getLogger(__name__)

AT_ONCE = 200  # calls in one pipeline: the hot path gets through between two
ASK_GEN_EVERY_S = 0.05
ONLY_IN_MEMORY_MOST = 10_000


class Recovery:
    """One task at most that tells again, one that replays the spool, one per cold shard that waits for its seeding."""

    def __init__(
        self,
        holds: Holds,
        flights: Mapping[UUID, Flight],
        voids: Voids,
        spool: Spool,
        ring: Ring,
        *,
        seed_wait_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._holds = holds
        self._flights = flights
        self._voids = voids
        self._spool = spool
        self._ring = ring
        self._seed_wait_s = seed_wait_s
        self._gens: dict[int, str | None] = {}  # as last seen
        self._shards: set[int] = set()
        self._due: set[int] = set()  # shards that must be told again
        self._only_in_memory: dict[UUID, Record] = {}  # neither Redis nor the disk took it
        self._telling: asyncio.Task[None] | None = None
        self._replaying: asyncio.Task[None] | None = None
        self._warming: dict[int, asyncio.Task[None]] = {}

    def knows(self, shard: int) -> None:
        self._shards.add(shard)

    def all_shards(self) -> None:
        """The line was lost: everything, everywhere. The gens seen next are what it was told to."""
        self._gens.clear()
        self._due |= self._shards

    def shard_lost(self, shard: int) -> None:
        self._due.add(shard)
        self._tell_what_is_due()

    def saw_gen(self, shard: int, gen: str | None) -> None:
        """Another gen than before, or none: this Redis has forgotten the shard, whoever seeded it since."""
        if self._gens.setdefault(shard, gen) != gen:
            self._gens[shard] = gen
            log.warning("shard %d was flushed or failed over (gen %s): telling again", shard, gen)
            self.shard_lost(shard)

    def keep_in_memory(self, record: Record) -> None:
        if len(self._only_in_memory) >= ONLY_IN_MEMORY_MOST:
            _log_loss(record)
            return
        self._only_in_memory[record.attempt_id] = record

    def look(self, *, replay: bool) -> None:
        """Once a second while connected."""
        for shard in self._shards:
            try:
                answer = self._holds.gen(shard)
            except StoreAway:
                return
            answer.add_done_callback(partial(self._gen_answered, shard))
        self._tell_what_is_due()
        if replay and self._spool.waiting_bytes and (self._replaying is None or self._replaying.done()):
            self._replaying = self._loop.create_task(self._replay(), name="spool replay")

    async def warmed(self, shard: int) -> None:
        """The shard answered `cold`: tells it what is in flight, then waits for its seeding, a bounded time."""
        task = self._warming.get(shard)
        if task is None:
            self._gens[shard] = None  # once it is seeded all is told a second time: it may have been flushed twice
            self.shard_lost(shard)
            task = self._warming[shard] = self._loop.create_task(self._wait_for_gen(shard), name="cold shard")
            task.add_done_callback(lambda _: self._warming.pop(shard, None))
        await asyncio.shield(task)

    async def finish(self, until_s: float) -> None:
        """The last chance to tell, to take back and to replay. What only this process still knows goes to the spool."""
        for task in self._warming.values():
            task.cancel()
        running = [task for task in (self._telling, self._replaying, *self._warming.values()) if task is not None]
        try:
            async with asyncio.timeout_at(until_s):
                if running:
                    await asyncio.wait(running)
                await self._tell()
                await self._voids.repeat(AT_ONCE)
                await self._replay()
        except (StoreAway, TimeoutError) as error:
            log.warning("not everything could be told to Redis at the end: %s", error or "no time left")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._due or not self._holds.bus.connected:
            await self._spool_ring()
        for record in self._only_in_memory.values():
            _log_loss(record)

    async def _spool_ring(self) -> None:
        """Redis acknowledged these, and may be failing over: whoever adopts the spool tells it again in our place."""
        waiting: list[asyncio.Future[None]] = []
        now_s = self._loop.time()
        try:
            for shard in self._shards:
                waiting.extend(self._spool.append(*kept[1:]) for kept in self._ring.of_shard(shard, now_s))
        except SpoolFailed as error:
            log.critical("events of the last minute found no place in the spool: %s", error)
        await asyncio.gather(*waiting, return_exceptions=True)

    # telling again

    def _tell_what_is_due(self) -> None:
        if (self._due or self._only_in_memory) and (self._telling is None or self._telling.done()):
            self._telling = self._loop.create_task(self._tell(), name="telling Redis again")

    async def _tell(self) -> None:
        try:
            await self._send_unkept()
            while self._due:
                shard = self._due.pop()
                try:
                    await self._announce_again(shard)
                    await self._send_ring(shard)
                    await self._voids.repeat(AT_ONCE)
                except BaseException:
                    self._due.add(shard)
                    raise
        except StoreAway as error:
            log.warning("telling Redis again was cut short: %s", error)  # `look` and the next connection begin anew

    async def _announce_again(self, shard: int) -> None:
        mine = [attempt_id for attempt_id, flight in self._flights.items() if flight.scope.shard == shard]
        for start in range(0, len(mine), AT_ONCE):
            # Settled while this waits: not announced any more. Behind this its settle would leave a hold.
            part = [
                (attempt_id, flight)
                for attempt_id in mine[start : start + AT_ONCE]
                if (flight := self._flights.get(attempt_id)) and not flight.swept
            ]
            replies = await together(
                self._holds.admit(flight.scope, attempt_id, flight.stub, 0, 0, again=True)
                for attempt_id, flight in part
            )
            for (attempt_id, flight), reply in zip(part, replies, strict=True):
                if reply.kind == "swept":
                    flight.swept = True
                    log.warning("attempt %s was swept while Redis was out of reach; it will settle late", attempt_id)

    async def _send_ring(self, shard: int) -> None:
        kept = self._ring.of_shard(shard, self._loop.time())
        for start in range(0, len(kept), AT_ONCE):
            await together(
                self._holds.resend(shard, attempt_id, event)
                for _, _, attempt_id, event in kept[start : start + AT_ONCE]
            )

    async def _send_unkept(self) -> None:
        for attempt_id, record in list(self._only_in_memory.items()):
            await send_again(self._holds, [record])
            self._sent(record)
            del self._only_in_memory[attempt_id]

    # the spool

    async def _replay(self) -> None:
        try:
            while batch := await self._spool.read(AT_ONCE):
                await send_again(self._holds, batch.records)
                for record in batch.records:
                    self._sent(record)
                await self._spool.acknowledged(batch.end)
        except StoreAway as error:
            log.warning("the replay of the spool was cut short: %s", error)

    def _sent(self, record: Record) -> None:
        if record.event != VOID:
            self._ring.add(self._loop.time(), record.shard, record.attempt_id, record.event)

    # gen

    async def _wait_for_gen(self, shard: int) -> None:
        until_s = self._loop.time() + self._seed_wait_s
        while self._loop.time() < until_s:
            try:
                gen = await self._holds.gen(shard)
            except StoreAway:
                return
            self.saw_gen(shard, gen)
            if gen is not None:
                return
            await asyncio.sleep(ASK_GEN_EVERY_S)

    def _gen_answered(self, shard: int, answer: asyncio.Future[str | None]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self.saw_gen(shard, answer.result())


def _log_loss(record: Record) -> None:
    log.critical("attempt %s: its event is lost to everything but this line: %s", record.attempt_id, record.event)
