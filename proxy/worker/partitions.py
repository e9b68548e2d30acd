"""Keeps a week of partitions ahead, so that no batch has to make one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from proxy.ledger.partitions import store as partitions
from proxy.ledger.store import Conflict, connection
from proxy.storage.away import StoreAway
from proxy.storage.postgres import Pool
from proxy.worker.pace import pause

_log = logging.getLogger(__name__)


def utc_today() -> date:
    return datetime.now(UTC).date()


class PartitionsLoop:
    def __init__(
        self,
        pool: Pool,
        *,
        days_ahead: int = 7,
        every_s: float = 3600.0,
        retry_s: float = 10.0,
        today: Callable[[], date] = utc_today,
    ) -> None:
        self._pool = pool
        self._days_ahead = days_ahead
        self._every_s = every_s
        self._retry_s = retry_s
        self._today = today

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.ensure()
                wait_s = self._every_s
            except (StoreAway, Conflict) as error:
                _log.warning("partitions could not be made, trying again: %s", error)
                wait_s = self._retry_s
            await pause(stop, wait_s)

    async def ensure(self) -> set[date]:
        """Yesterday too: attempts of before midnight settle after it."""
        wanted = {self._today() + timedelta(days=offset) for offset in range(-1, self._days_ahead + 1)}
        async with connection(self._pool) as conn:
            there = await partitions.ensure(conn, wanted)
        if there != wanted:
            _log.error("no partition for %s", ", ".join(map(str, sorted(wanted - there))))
        return there
