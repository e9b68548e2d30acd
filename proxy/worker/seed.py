"""Seeds shards that have lost their `gen`: a flush, or a failover to an empty Redis. Until then `admit` answers `cold`.

Postgres is read before the script runs. An epoch that is raised in between is published by whoever raised it, and the
script never lowers one. Two workers may seed at once: the first gen stays.

What is routine is told as INFO: an empty Redis at the first start, and epochs that a start finds behind (a catalog sync
bumps the global one while nobody publishes). Later the same things mean that something was lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Collection
from uuid import UUID, uuid4

from proxy.epochs import store as epochs_store
from proxy.epochs.keys import GLOBAL
from proxy.holds.client import Holds
from proxy.holds.together import together
from proxy.identity import store as identity_store
from proxy.ledger.store import Conflict, connection
from proxy.storage.away import StoreAway
from proxy.storage.postgres import Pool
from proxy.worker.metrics import WorkerMetrics
from proxy.worker.pace import Backoff, pause

_log = logging.getLogger(__name__)


class SeedLoop:
    """`look_s` bounds how long a flush goes unnoticed. Every `check_s` the epochs of seeded shards are compared too."""

    def __init__(
        self,
        pool: Pool,
        holds: Holds,
        metrics: WorkerMetrics,
        *,
        shards: Collection[int],
        look_s: float = 0.2,
        check_s: float = 3600.0,
    ) -> None:
        self._pool = pool
        self._holds = holds
        self._metrics = metrics
        self._shards = tuple(shards)
        self._look_s = look_s
        self._check_s = check_s
        self._seen: set[int] = set()  # shards that this process has found, or left, seeded
        self._checked = False

    async def run(self, stop: asyncio.Event) -> None:
        backoff = Backoff(most_s=2.0)
        check_at = time.monotonic()
        while not stop.is_set():
            try:
                if time.monotonic() >= check_at:
                    await self._seed(self._shards, check=True)
                    self._checked = True
                    check_at = time.monotonic() + self._check_s
                elif cold := await self._cold():
                    await self._seed(cold, check=False)
            except (StoreAway, Conflict) as error:
                _log.info("seeding waits: %s", error)
                await pause(stop, backoff.next_s())
            else:
                backoff.reset()
                await pause(stop, self._look_s)

    async def _cold(self) -> list[int]:
        gens = await together(self._holds.gen(shard) for shard in self._shards)
        cold = [shard for shard, gen in zip(self._shards, gens, strict=True) if gen is None]
        self._seen.update(set(self._shards).difference(cold))
        return cold

    async def _seed(self, shards: Collection[int], *, check: bool) -> None:
        by_shard = await self._epochs()
        for shard in shards:
            seeded = await self._holds.seed(shard, uuid4().hex, by_shard[shard], check=check)
            if seeded.set_here:
                if shard in self._seen:
                    _log.warning("shard %s had lost its gen and is seeded again: gen %s", shard, seeded.gen)
                else:
                    _log.info("shard %s was empty and is seeded: gen %s", shard, seeded.gen)
                self._metrics.seeded(shard)
            elif seeded.raised:
                level = logging.WARNING if self._checked else logging.INFO
                _log.log(level, "shard %s: %s epochs were behind", shard, seeded.raised)
            self._seen.add(shard)

    async def _epochs(self) -> defaultdict[int, dict[UUID, int]]:
        async with connection(self._pool) as conn:
            epochs = await epochs_store.all_epochs(conn)
            shard_of = await identity_store.shards_of(conn, list(epochs))
        global_epoch = epochs[GLOBAL]
        by_shard: defaultdict[int, dict[UUID, int]] = defaultdict(lambda: {GLOBAL: global_epoch})
        for workspace_id, shard in shard_of.items():
            by_shard[shard][workspace_id] = epochs[workspace_id]
        return by_shard
