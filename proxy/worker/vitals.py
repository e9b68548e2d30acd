"""What a process sees of its surroundings, as metrics: stores, stream, spool. Every process looks, so that a ledger that
is dead is seen to fall behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from proxy.ledger.stream import UsageStream
from proxy.storage.away import StoreAway
from proxy.storage.postgres import Pool, answers, connections
from proxy.storage.redis import Redis, memory
from proxy.telemetry.metrics import Metrics
from proxy.worker.pace import pause

ANSWER_S = 2.0


class Vitals:
    """`streams`: one per shard, of this object alone. `spool`: the folder, which need not exist."""

    def __init__(
        self, pool: Pool, redis: Redis, streams: Sequence[UsageStream], spool: Path, metrics: Metrics, *, role: str, every_s: float = 5.0
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._streams = streams
        self._spool = spool
        self._metrics = metrics
        self._every_s = every_s
        metrics.processes.labels(role).set(1)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.look()
            await pause(stop, self._every_s)

    async def look(self) -> None:
        metrics = self._metrics
        metrics.store_up.labels("postgres").set(await answers(self._pool, within_s=ANSWER_S))
        for state, count in connections(self._pool)._asdict().items():
            metrics.postgres_connections.labels(state).set(count)
        used = await memory(self._redis)
        metrics.store_up.labels("redis").set(used is not None)
        if used is not None:
            for what, size in used._asdict().items():
                metrics.redis_memory.labels(what).set(size)
            for shard, stream in enumerate(self._streams):
                await self._measure(shard, stream)
        metrics.spool_folder_bytes.set(await asyncio.to_thread(folder_bytes, self._spool))

    async def _measure(self, shard: int, stream: UsageStream) -> None:
        try:
            backlog = await stream.backlog()
            entries = await stream.length()
        except StoreAway:
            return  # the last look stands; `store_up` says the rest
        age_ms = 0 if backlog.oldest_ms is None else max(backlog.time_ms - backlog.oldest_ms, 0)
        self._metrics.stream_oldest.labels(str(shard)).set(age_ms / 1000)
        self._metrics.stream_entries.labels(str(shard)).set(entries)


def folder_bytes(folder: Path) -> int:
    """0 where there is no such folder. Files that go meanwhile count nothing."""
    size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    size += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return 0
    return size
