"""The desk: every attempt in flight in this process, from its announcement to its settlement.

One `open` and one `settle` per attempt, each one call to Redis; no task and no timer of their own. What takes longer
(a lost line, a flushed or failed-over Redis, the spool) is in `recovery.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from proxy.holds.away import StoreAway, Unanswered
from proxy.holds.client import RENEW_MOST, AdmitReply, Holds, HoldScope, Renewed
from proxy.settlement.flights import Flight, Voids
from proxy.settlement.recovery import Recovery
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool, SpoolFailed
from proxy.settlement.spool_lines import VOID, Record
from proxy.settlement.usage_event import UsageEvent, encode
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

OnEpochs = Callable[[UUID, int | None, int | None], None]  # workspace, its epoch, the global one


class _Settling:
    """An event on its way to Redis. `done` is the client's last frame waiting."""

    __slots__ = ("attempt_id", "deadline_s", "desk", "done", "event", "shard", "spooled")

    def __init__(self, desk: Desk, shard: int, attempt_id: UUID, event: bytes, deadline_s: float) -> None:
        self.desk = desk
        self.shard = shard
        self.attempt_id = attempt_id
        self.event = event
        self.deadline_s = deadline_s
        self.spooled = False
        self.done: asyncio.Future[None] = desk.loop.create_future()

    def answered(self, reply: Any) -> None:
        if reply.__class__ is int:
            self.desk.acknowledged(self)
        elif not self.spooled:
            log.warning("an event could not be settled, the spool takes it: %s", reply)
            self.desk.keep(self)

    def release(self) -> None:
        if not self.done.done():  # a client that left has cancelled it
            self.done.set_result(None)


class Desk:
    """`tick` once a second, `on_reconnect` at each connection of the bus, `close` at the end. Loop thread only."""

    def __init__(
        self,
        holds: Holds,
        spool: Spool,
        ring: Ring,
        clock: Clock,
        metrics: Metrics,
        *,
        settle_deadline_s: float = 0.25,
        renew_after_s: float = 30.0,
        seed_wait_s: float = 2.0,
        spool_above_ratio: float = 0.70,
        refuse_above_ratio: float = 0.85,
        on_epochs: OnEpochs = lambda workspace_id, workspace_epoch, global_epoch: None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.on_epochs = on_epochs
        self._holds = holds
        self._bus = holds.bus
        self._spool = spool
        self._ring = ring
        self._clock = clock
        self._metrics = metrics
        self._settle_deadline_s = settle_deadline_s
        self._renew_after_s = renew_after_s
        self._spool_above_ratio = spool_above_ratio
        self._refuse_above_ratio = refuse_above_ratio
        self._flights: dict[UUID, Flight] = {}
        self._settling: dict[UUID, _Settling] = {}  # the oldest first
        self._spooling: set[_Settling] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._voids = Voids(holds)
        self._closed = False
        self._recovery = Recovery(holds, self._flights, self._voids, spool, ring, seed_wait_s=seed_wait_s)

    @property
    def in_flight(self) -> Mapping[UUID, Flight]:
        return MappingProxyType(self._flights)

    async def open(self, scope: HoldScope, stub: UsageEvent, epochs: tuple[int, int]) -> AdmitReply:
        """Announce. `held`: in flight from now on, and to be settled or taken back whatever happens. `stale`: not in
        flight, read the epochs again and what they guard, and come back. Else StoreAway, and nothing is in flight.
        """
        event = encode(stub)
        reply = await self._announce(scope, stub.attempt_id, event, epochs)
        if reply.kind == "cold":
            await self._recovery.warmed(scope.shard)
            reply = await self._announce(scope, stub.attempt_id, event, epochs)
        if reply.kind == "held" and self._closed:  # `close` did not see this one
            self._voids.add(scope.shard, stub.attempt_id)
            raise StoreAway("this process is closing")
        if reply.kind == "held":
            self._flights[stub.attempt_id] = Flight(scope, event, self.loop.time())
        elif reply.kind != "stale":
            raise StoreAway(f"Redis does not take attempts: {reply.kind}")
        return reply

    def settle(self, attempt_id: UUID, event: UsageEvent) -> asyncio.Future[None]:
        """Sent now. Done when Redis has it, else when the spool has it: by the deadline at the latest, plus an fsync.

        Never fails because of a store. An attempt that is not in flight is a bug, and a KeyError.
        """
        if event.attempt_id != attempt_id:
            raise ValueError("the event is of another attempt")
        flight = self._flights.pop(attempt_id)
        return self._hand_over(flight.scope.shard, attempt_id, encode(event)).done

    def void(self, attempt_id: UUID) -> None:
        """Nothing was sent to a provider: no event. Repeated until Redis has it."""
        self._voids.add(self._flights.pop(attempt_id).scope.shard, attempt_id)

    def tick(self) -> None:
        self._metrics.spool_bytes.set(self._spool.waiting_bytes)
        if not self._bus.connected:
            return
        now_s = self.loop.time()
        due: defaultdict[int, list[UUID]] = defaultdict(list)
        for attempt_id, flight in self._flights.items():
            if flight.renewed_at_s <= now_s - self._renew_after_s and not flight.swept:
                flight.renewed_at_s = now_s
                due[flight.scope.shard].append(attempt_id)
        for shard, attempts in due.items():
            for start in range(0, len(attempts), RENEW_MOST):
                self._renew(shard, attempts[start : start + RENEW_MOST])
        self._look()

    def on_reconnect(self) -> None:
        """The line was lost: Redis may have lost what it knew, and answers may have been lost."""
        self._recovery.all_shards()
        self._set_clock()
        self._look()

    async def close(self, grace_s: float) -> None:
        """Settles what is left, empties the spool into Redis if it can, and stops. Every event is safe afterwards."""
        self._closed = True
        until_s = self.loop.time() + grace_s
        if left := list(self._flights.items()):
            log.error("%d attempts were still open at the end, settled as abandoned: %s…", len(left), left[0][0])
            self._metrics.add(self._metrics.bugs, "attempt_open_at_close", by=len(left))
        self._flights.clear()
        for attempt_id, flight in left:
            self._hand_over(flight.scope.shard, attempt_id, flight.stub)
        while waiting := [settling.done for settling in (*self._settling.values(), *self._spooling)]:
            await asyncio.wait(waiting)
            await asyncio.sleep(0.01)  # their bookkeeping comes after; those of clients that left are done at once
        await self._recovery.finish(until_s)
        if self._expiry is not None:
            self._expiry.cancel()
        for attempt_id, shard in self._voids.waiting.items():
            self._append(shard, attempt_id, VOID)
        if not await self._spool.close():
            log.warning("events are left in the spool %s: whoever adopts it sends them", self._spool.path)

    # admission

    async def _announce(self, scope: HoldScope, attempt_id: UUID, stub: bytes, epochs: tuple[int, int]) -> AdmitReply:
        if self._closed or self._bus.memory_ratio > self._refuse_above_ratio:
            raise StoreAway("this process is closing" if self._closed else "Redis is nearly full")
        self._recovery.knows(scope.shard)
        sent_ms = self._clock.steady_ms()
        answer = self._holds.admit(scope, attempt_id, stub, *epochs)
        try:
            reply = await answer
        except (Unanswered, asyncio.CancelledError):
            # Perhaps it is held, and whoever asked will not send anything.
            self._voids.add(scope.shard, attempt_id)
            raise
        self._clock.correct(reply.time_ms, sent_ms)
        return reply

    # settlement

    def _hand_over(self, shard: int, attempt_id: UUID, event: bytes) -> _Settling:
        settling = _Settling(self, shard, attempt_id, event, self.loop.time() + self._settle_deadline_s)
        self._settling[attempt_id] = settling
        if self._bus.memory_ratio > self._spool_above_ratio:
            self.keep(settling)
            return settling
        try:
            self._holds.send_settle(shard, attempt_id, event, settling.answered)
        except StoreAway:
            self.keep(settling)
            return settling
        if self._expiry is None:
            self._expiry = self.loop.call_later(self._settle_deadline_s, self._expire)
        return settling

    def acknowledged(self, settling: _Settling) -> None:
        self._settling.pop(settling.attempt_id, None)
        self._ring.add(self.loop.time(), settling.shard, settling.attempt_id, settling.event)
        settling.release()

    def _expire(self) -> None:
        """One timer for all: what is over its deadline goes to the spool, the oldest decides when to look again."""
        self._expiry = None
        now_s = self.loop.time()
        for settling in list(self._settling.values()):
            if settling.deadline_s > now_s:
                self._expiry = self.loop.call_at(settling.deadline_s, self._expire)
                return
            self.keep(settling)

    def keep(self, settling: _Settling) -> None:
        """In doubt or refused: to the spool, from which it is sent again. If Redis did take it, twice is harmless."""
        settling.spooled = True
        self._settling.pop(settling.attempt_id, None)
        self._spooling.add(settling)
        kept = self._append(settling.shard, settling.attempt_id, settling.event)
        if kept is None:
            self._kept(settling, None)
        else:
            kept.add_done_callback(partial(self._kept, settling))

    def _append(self, shard: int, attempt_id: UUID, event: bytes) -> asyncio.Future[None] | None:
        try:
            return self._spool.append(shard, attempt_id, event)
        except SpoolFailed as error:
            log.critical("a usage event has no place on disk: %s", error)
            return None

    def _kept(self, settling: _Settling, kept: asyncio.Future[None] | None) -> None:
        self._spooling.discard(settling)
        if kept is not None and kept.exception() is None:
            self._metrics.add(self._metrics.spooled)
        else:
            # Waiting longer would not help the client. Redis still has the announcement.
            self._metrics.add(self._metrics.bugs, "spool_refused")
            self._recovery.keep_in_memory(Record(settling.shard, settling.attempt_id, settling.event))
        settling.release()

    # clock, recovery

    def _set_clock(self) -> None:
        """Before the first attempt id is minted, and whenever another server may answer."""
        sent_ms = self._clock.steady_ms()
        try:
            answer = self._holds.time_ms()
        except StoreAway:
            return
        answer.add_done_callback(partial(self._time_told, sent_ms))

    def _time_told(self, sent_ms: int, answer: asyncio.Future[int]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._clock.correct(answer.result(), sent_ms)

    def _look(self) -> None:
        self._recovery.look(replay=self._bus.memory_ratio <= self._spool_above_ratio)

    # leases

    def _renew(self, shard: int, attempt_ids: list[UUID]) -> None:
        attempts = [(attempt_id, self._flights[attempt_id].scope) for attempt_id in attempt_ids]
        try:
            answer = self._holds.renew(shard, attempts)
        except StoreAway:
            self._renew_soon(attempt_ids)
            return
        answer.add_done_callback(partial(self._renewed, shard, attempt_ids))

    def _renewed(self, shard: int, attempt_ids: list[UUID], answer: asyncio.Future[Renewed]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._renew_soon(attempt_ids)
            return
        renewed = answer.result()
        if any(attempt_id in self._flights for attempt_id in renewed.missing):
            self._recovery.shard_lost(shard)
        self._recovery.saw_gen(shard, renewed.gen)
        for workspace_id, epoch in renewed.epochs.items():
            self.on_epochs(workspace_id, epoch, renewed.global_epoch)

    def _renew_soon(self, attempt_ids: list[UUID]) -> None:
        for attempt_id in attempt_ids:
            if flight := self._flights.get(attempt_id):
                flight.renewed_at_s = 0.0
