"""Settles as abandoned what nobody renews: its process is dead.

Not what nobody could renew. A gateway that could not reach Redis keeps its attempts and renews them when it can, so a
shard is swept only after it was reachable, seeded and unchanged for longer than a lease. What this process cannot vouch
for counts as a break: an error, another gen, a gap between its looks, a server clock that ran differently from its own
(a machine that slept: every lease is over, and no gateway has had its turn).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from proxy.holds.client import Holds
from proxy.storage.away import StoreAway
from proxy.worker.metrics import WorkerMetrics
from proxy.worker.pace import pause

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reachable:
    """How long one shard has been reachable without a break. Pure: the caller says what it saw, and when."""

    gap_s: float
    _since_s: float | None = None
    _seen_s: float = 0.0
    _server_ms: int = 0
    _gen: str | None = None

    def broke(self) -> None:
        self._since_s = None

    def saw(self, steady_s: float, server_ms: int, gen: str | None) -> float:
        """For how many seconds now; 0 after a break."""
        drift_s = abs((server_ms - self._server_ms) / 1000 - (steady_s - self._seen_s))
        unbroken = (
            self._since_s is not None
            and gen is not None
            and gen == self._gen
            and steady_s - self._seen_s <= self.gap_s
            and drift_s <= self.gap_s
        )
        if not unbroken:
            self._since_s = None if gen is None else steady_s
        self._seen_s, self._server_ms, self._gen = steady_s, server_ms, gen
        return 0.0 if self._since_s is None else steady_s - self._since_s


class SweepLoop:
    def __init__(
        self,
        holds: Holds,
        metrics: WorkerMetrics,
        *,
        shards: Collection[int],
        lease_s: float = 120.0,
        margin_s: float = 60.0,
        look_s: float = 1.0,
        sweep_every_s: float = 5.0,
        gap_s: float = 10.0,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._holds = holds
        self._metrics = metrics
        self._quiet_s = lease_s + margin_s
        self._look_s = look_s
        self._sweep_every_s = sweep_every_s
        self._steady_s = steady_s
        self._reachable = {shard: Reachable(gap_s) for shard in shards}
        self._swept_at = dict.fromkeys(shards, float("-inf"))

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for shard in self._reachable:
                await self.look(shard)
            await pause(stop, self._look_s)

    async def look(self, shard: int) -> int:
        """How many attempts were swept."""
        reachable = self._reachable[shard]
        try:
            gen = await self._holds.gen(shard)
            server_ms = await self._holds.time_ms()
            now_s = self._steady_s()
            for_s = reachable.saw(now_s, server_ms, gen)
            if for_s < self._quiet_s or now_s - self._swept_at[shard] < self._sweep_every_s:
                return 0
            self._swept_at[shard] = now_s
            swept = await self._holds.sweep(shard)
        except StoreAway:
            reachable.broke()
            return 0
        if swept:
            _log.warning("shard %s: %s attempts of dead processes settled as abandoned", shard, len(swept))
            self._metrics.swept(len(swept))
        return len(swept)
