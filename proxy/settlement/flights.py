"""Attempts in flight, and attempts to be taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from proxy.holds.away import StoreAway
from proxy.holds.client import AdmitReply, Holds, HoldScope
from proxy.holds.together import together

# Held, stale, or why nothing is in flight.
Announced: TypeAlias = Callable[[AdmitReply | StoreAway], None]


class Keeper(Protocol):
    """The desk, as an attempt in flight knows it."""

    def admitted(self, flight: Flight, reply: Any) -> None: ...
    def settled(self, flight: Flight, reply: Any) -> None: ...


class Flight:
    """One attempt from its announcement to its settlement, and what it takes to announce it again.

    It is its own sink at the bus: `admitted` gets the answer to its announcement, `settled` the one to its event.
    """

    __slots__ = ("_keeper", "asked_twice", "attempt_id", "deadline_s", "epochs", "event", "renewed_at_s", "scope", "sent_ms",
                 "spooled", "stub", "swept", "then", "then_settled")  # fmt: skip

    def __init__(
        self, keeper: Keeper, scope: HoldScope, attempt_id: UUID, stub: bytes, epochs: tuple[int, int], then: Announced
    ) -> None:
        self._keeper = keeper
        self.scope = scope
        self.attempt_id = attempt_id
        self.stub = stub
        self.epochs = epochs
        self.then = then
        self.sent_ms = 0
        self.asked_twice = False
        self.renewed_at_s = 0.0
        self.swept = False  # its lease ended while Redis could not be reached: it will settle late
        # once it is being settled
        self.event = b""
        self.then_settled: Callable[[], None] = _nothing
        self.deadline_s = 0.0
        self.spooled = False

    def admitted(self, reply: Any) -> None:
        self._keeper.admitted(self, reply)

    def settled(self, reply: Any) -> None:
        self._keeper.settled(self, reply)


def _nothing() -> None:
    return None


class Voids:
    """Attempts of which nothing was sent and that Redis may hold. Repeated until it says that they are gone."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self.waiting: dict[UUID, int] = {}  # attempt → shard

    def add(self, shard: int, attempt_id: UUID) -> None:
        self.waiting[attempt_id] = shard
        try:
            answer = self._holds.void(shard, attempt_id)
        except StoreAway:
            return  # `repeat` comes with the next connection
        answer.add_done_callback(partial(self._answered, attempt_id))

    def _answered(self, attempt_id: UUID, answer: asyncio.Future[bool]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self.waiting.pop(attempt_id, None)

    async def repeat(self, at_once: int) -> None:
        """Raises StoreAway."""
        attempts = list(self.waiting.items())
        for start in range(0, len(attempts), at_once):
            part = attempts[start : start + at_once]
            await together(self._holds.void(shard, attempt_id) for attempt_id, shard in part)
            for attempt_id, _ in part:
                self.waiting.pop(attempt_id, None)
