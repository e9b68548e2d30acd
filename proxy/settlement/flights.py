"""Attempts in flight, and attempts to be taken back."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

from proxy.holds.away import StoreAway
from proxy.holds.client import Holds, HoldScope
from proxy.holds.together import together


class Flight:
    """An attempt in flight: what it takes to announce it again."""

    __slots__ = ("renewed_at_s", "scope", "stub", "swept")

    def __init__(self, scope: HoldScope, stub: bytes, now_s: float) -> None:
        self.scope = scope
        self.stub = stub
        self.renewed_at_s = now_s
        self.swept = False  # its lease ended while Redis could not be reached: it will settle late


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
