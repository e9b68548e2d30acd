"""Forgets provider objects whose time is over, and deleted ones once nobody asks for them any more."""

from __future__ import annotations

import asyncio
import logging

from proxy.objects import store
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, SCHEMA_MISSING, Pool
from proxy.worker.pace import pause

_log = logging.getLogger(__name__)
ACQUIRE_S = 10.0


class ObjectsLoop:
    """A few rows at a time: the table is in use."""

    def __init__(
        self,
        pool: Pool,
        *,
        every_s: float = 600.0,
        retry_s: float = 10.0,
        batch: int = 1000,
        deleted_for_days: int = 30,
    ) -> None:
        self._pool = pool
        self._every_s = every_s
        self._retry_s = retry_s
        self._batch = batch
        self._deleted_for_days = deleted_for_days

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                # A whole batch: more may wait.
                wait_s = 0.0 if await self.purge() >= self._batch else self._every_s
            except (*POSTGRES_AWAY, *POSTGRES_BUSY, *SCHEMA_MISSING) as error:
                _log.warning("provider objects are not cleared away, trying again: %s", type(error).__name__)
                wait_s = self._retry_s
            await pause(stop, wait_s)

    async def purge(self) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_S) as db:
            return await store.purge(db, most=self._batch, deleted_for_days=self._deleted_for_days)
