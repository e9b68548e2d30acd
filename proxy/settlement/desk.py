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

from proxy.holds.away import ErrorReply, StoreAway, Unanswered
from proxy.holds.client import RENEW_MOST, AdmitReply, Holds, HoldScope, Renewed, read_admit
from proxy.settlement.flights import Announced, Flight, Voids
from proxy.settlement.recovery import Recovery
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool, SpoolFailed
from proxy.settlement.spool_lines import VOID, Record
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

HELD = AdmitReply("held", 0, None, None)
OnEpochs = Callable[[UUID, int | None, int | None], None]  # workspace, its epoch, the global one


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
        self._settling: dict[UUID, Flight] = {}  # the oldest first
        self._spooling: set[Flight] = set()
        self._warming: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._voids = Voids(holds)
        self._closed = False
        self._recovery = Recovery(holds, self._flights, self._voids, spool, ring, seed_wait_s=seed_wait_s)

    @property
    def in_flight(self) -> Mapping[UUID, Flight]:
        return MappingProxyType(self._flights)

    def announce(
        self, scope: HoldScope, attempt_id: UUID, stub: bytes, epochs: tuple[int, int], then: Announced
    ) -> None:
        """Raises StoreAway where nothing was sent; else `then` is called, once.

        `held`: in flight from now on, and to be settled or taken back whatever happens. `stale`: not in flight, read the
        epochs again and what they guard, and come back. A StoreAway: not in flight.
        """
        self._announce(Flight(self, scope, attempt_id, stub, epochs, then))

    def settle(self, attempt_id: UUID, event: bytes, then: Callable[[], None]) -> None:
        """Sent now. `then` is called when Redis has it, else when the spool has it: by the deadline, plus an fsync.

        Never fails because of a store. An attempt that is not in flight is a bug, and a KeyError; but `close` has settled
        what was left.
        """
        flight = self._flights.pop(attempt_id, None)
        if flight is None:
            if not self._closed:
                raise KeyError(attempt_id)
            then()
            return
        flight.then_settled = then
        self._hand_over(flight, event)

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
        for _, flight in left:
            self._hand_over(flight, flight.stub)
        while self._settling or self._spooling:  # noqa: ASYNC110 (each ends by its deadline; nobody but this waits)
            await asyncio.sleep(0.01)
        for task in self._warming:
            task.cancel()
        await self._recovery.finish(until_s)
        if self._expiry is not None:
            self._expiry.cancel()
        for attempt_id, shard in self._voids.waiting.items():
            self._append(shard, attempt_id, VOID)
        if not await self._spool.close():
            log.warning("events are left in the spool %s: whoever adopts it sends them", self._spool.path)

    # admission

    def _announce(self, flight: Flight) -> None:
        if self._closed or self._bus.memory_ratio > self._refuse_above_ratio:
            raise StoreAway("this process is closing" if self._closed else "Redis is nearly full")
        self._recovery.knows(flight.scope.shard)
        flight.sent_ms = self._clock.steady_ms()
        self._holds.send_admit(flight.scope, flight.attempt_id, flight.stub, *flight.epochs, flight.admitted)

    def admitted(self, flight: Flight, reply: Any) -> None:
        if reply.__class__ is int and not self._closed:  # held, with the server's time
            self._clock.correct(reply, flight.sent_ms)
            flight.renewed_at_s = self.loop.time()
            self._flights[flight.attempt_id] = flight
            flight.then(HELD)
            return
        try:
            answer = reply if isinstance(reply, StoreAway) else read_admit(reply)
        except ValueError as error:
            answer = ErrorReply(f"an answer of another shape: {reply!r:.200} ({error})")
        if isinstance(answer, StoreAway):
            if isinstance(answer, Unanswered):
                self._voids.add(flight.scope.shard, flight.attempt_id)  # perhaps it is held, and nothing will be sent
            flight.then(answer)
            return
        self._clock.correct(answer.time_ms, flight.sent_ms)
        if answer.kind == "cold" and not flight.asked_twice:
            flight.asked_twice = True
            task = self.loop.create_task(self._announce_when_warm(flight), name="announce on a cold shard")
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)
        elif answer.kind == "held":  # `close` did not see this one
            self._voids.add(flight.scope.shard, flight.attempt_id)
            flight.then(StoreAway("this process is closing"))
        elif answer.kind == "stale":
            flight.then(answer)
        else:
            flight.then(StoreAway(f"Redis does not take attempts: {answer.kind}"))

    async def _announce_when_warm(self, flight: Flight) -> None:
        try:
            await self._recovery.warmed(flight.scope.shard)
            self._announce(flight)
        except StoreAway as away:
            flight.then(away)
        except asyncio.CancelledError:
            flight.then(StoreAway("this process is closing"))
            raise

    # settlement

    def _hand_over(self, flight: Flight, event: bytes) -> None:
        flight.event = event
        flight.deadline_s = self.loop.time() + self._settle_deadline_s
        self._settling[flight.attempt_id] = flight
        if self._bus.memory_ratio > self._spool_above_ratio:
            self._keep(flight)
            return
        try:
            self._holds.send_settle(flight.scope.shard, flight.attempt_id, event, flight.settled)
        except StoreAway:
            self._keep(flight)
            return
        if self._expiry is None:
            self._expiry = self.loop.call_later(self._settle_deadline_s, self._expire)

    def settled(self, flight: Flight, reply: Any) -> None:
        if reply.__class__ is int:
            self._ring.add(self.loop.time(), flight.scope.shard, flight.attempt_id, flight.event)
            if not flight.spooled:
                del self._settling[flight.attempt_id]
                flight.then_settled()
        elif not flight.spooled:
            log.warning("an event could not be settled, the spool takes it: %s", reply)
            self._keep(flight)

    def _expire(self) -> None:
        """One timer for all: what is over its deadline goes to the spool, the oldest decides when to look again."""
        self._expiry = None
        now_s = self.loop.time()
        for flight in list(self._settling.values()):
            if flight.deadline_s > now_s:
                self._expiry = self.loop.call_at(flight.deadline_s, self._expire)
                return
            self._keep(flight)

    def _keep(self, flight: Flight) -> None:
        """In doubt or refused: to the spool, from which it is sent again. If Redis did take it, twice is harmless."""
        flight.spooled = True
        self._settling.pop(flight.attempt_id, None)
        self._spooling.add(flight)
        kept = self._append(flight.scope.shard, flight.attempt_id, flight.event)
        if kept is None:
            self._kept(flight, None)
        else:
            kept.add_done_callback(partial(self._kept, flight))

    def _append(self, shard: int, attempt_id: UUID, event: bytes) -> asyncio.Future[None] | None:
        try:
            return self._spool.append(shard, attempt_id, event)
        except SpoolFailed as error:
            log.critical("a usage event has no place on disk: %s", error)
            return None

    def _kept(self, flight: Flight, kept: asyncio.Future[None] | None) -> None:
        self._spooling.discard(flight)
        if kept is not None and kept.exception() is None:
            self._metrics.add(self._metrics.spooled)
        else:
            # Waiting longer would not help the client. Redis still has the announcement.
            self._metrics.add(self._metrics.bugs, "spool_refused")
            self._recovery.keep_in_memory(Record(flight.scope.shard, flight.attempt_id, flight.event))
        flight.then_settled()

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
