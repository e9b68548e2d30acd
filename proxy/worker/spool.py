"""Adopts the spools of gateways that died on this host."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from proxy.holds.client import Holds
from proxy.settlement.orphans import adopt_orphans
from proxy.storage.away import StoreAway
from proxy.worker.metrics import WorkerMetrics
from proxy.worker.pace import Backoff, pause

_log = logging.getLogger(__name__)


class SpoolLoop:
    def __init__(self, folder: Path, holds: Holds, metrics: WorkerMetrics, *, every_s: float = 10.0) -> None:
        self._folder = folder
        self._holds = holds
        self._metrics = metrics
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        backoff = Backoff(most_s=self._every_s)
        while not stop.is_set():
            if await self._adopt():
                backoff.reset()
                await pause(stop, self._every_s)
            else:
                await pause(stop, backoff.next_s())

    async def _adopt(self) -> bool:
        """False where Redis was away, as it is at the start: soon again."""
        try:
            adopted = await adopt_orphans(self._folder, self._holds)
        except StoreAway as error:
            _log.info("the spools of dead processes wait: %s", error)
            return False
        except OSError as error:
            _log.error("the spool folder %s cannot be read: %s", self._folder, error)
        else:
            self._metrics.adopted(adopted.records, adopted.damaged)
        return True
