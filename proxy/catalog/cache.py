"""The snapshot in memory. Readers take `current`; whoever learns of a newer global epoch reloads."""

from __future__ import annotations

import asyncio

from proxy.catalog import store
from proxy.catalog.snapshot import Catalog
from proxy.storage.postgres import Pool


class CatalogCache:
    """`current` is empty, at epoch 0, until the first `reload`. A failed reload leaves it as it was and raises."""

    def __init__(self, pool: Pool, *, timeout_s: float = 5.0) -> None:
        self.current = Catalog()
        self._pool = pool
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._begun = 0  # loads, by number
        self._done = 0  # the number of the newest load that succeeded

    async def reload(self, at_least: int | None = None) -> Catalog:
        """Load, unless `current` has that epoch. Calls that meet share a load that began after each of them."""
        asked = self._begun
        async with self._lock:
            fresh = self._done > asked if at_least is None else self.current.epoch >= at_least
            if fresh:
                return self.current
            self._begun += 1
            number = self._begun
            async with self._pool.acquire(timeout=self._timeout_s) as conn:
                loaded = await store.load(conn, timeout_s=self._timeout_s)
            self._done = number
            if loaded.epoch >= self.current.epoch:
                self.current = loaded
            return self.current
