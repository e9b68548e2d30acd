"""Looks every few seconds for what somebody should know of, and raises or resolves its alert."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from proxy.alerts import store
from proxy.alerts.kinds import KINDS, Kind
from proxy.ledger.reading import store as ledger
from proxy.ledger.rollups import store as rollups
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, SCHEMA_MISSING, Connection, Pool
from proxy.telemetry.metrics import Metrics
from proxy.wire.ids import uuid7
from proxy.worker.pace import pause

_log = logging.getLogger(__name__)
ACQUIRE_S = 10.0


class AlertsLoop:
    """One worker looks at a time; all of them tell how many alerts fire."""

    def __init__(self, pool: Pool, metrics: Metrics, *, every_s: float = 10.0) -> None:
        self._pool = pool
        self._metrics = metrics
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.look()
            except (*POSTGRES_AWAY, *POSTGRES_BUSY, *SCHEMA_MISSING) as error:
                _log.warning("alerts are not looked for, trying again: %s", type(error).__name__)
            await pause(stop, self._every_s)

    async def look(self) -> None:
        async with self._pool.acquire(timeout=ACQUIRE_S) as db, db.transaction():
            if await store.try_lock(db):
                await _agree(db, "unpriced", await _unpriced(db))
                await _agree(db, "dead_letters", await _dead_letters(db))
            counts = await store.counts(db)
        for kind in KINDS:
            self._metrics.alerts_firing.labels(kind).set(counts.get(kind, 0))


async def _agree(db: Connection, kind: Kind, true: Mapping[str, str]) -> None:
    """`true`: messages by subject. Whatever else fires of this kind is over."""
    for subject, message in true.items():
        if await store.raise_alert(db, kind, subject, message, id=uuid7(time.time_ns() // 1_000_000)):
            _log.warning("alert %s: %s", kind, message)
    for subject in sorted(await store.firing(db, kind) - true.keys()):
        if await store.resolve(db, kind, subject):
            _log.info("alert %s is over: %s", kind, subject)


async def _unpriced(db: Connection) -> Mapping[str, str]:
    return {
        f"{one.provider}/{one.llm}": f"{one.attempts} attempts of {one.llm} at {one.provider} since {one.since} have no "
        "known price and are in no bill"
        for one in await rollups.unpriced(db)
    }


async def _dead_letters(db: Connection) -> Mapping[str, str]:
    count = await ledger.dead_letters(db)
    return {"ledger": f"{count} entries could not be written and are in no bill"} if count else {}
