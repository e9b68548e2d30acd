"""One worker process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from aiohttp import web

from proxy.app.stores import READY_QUERY_S, Ticks, store_urls, streams
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.ledger.writer import LedgerWriter
from proxy.outbound.ticker import Ticker
from proxy.server.health import add_health
from proxy.settings.tree import Settings
from proxy.storage.postgres import answers, open_pool
from proxy.storage.redis import memory, open_redis
from proxy.telemetry.metrics import Metrics
from proxy.worker.alerts import AlertsLoop
from proxy.worker.epochs import EpochsLoop
from proxy.worker.ledger import LedgerLoop
from proxy.worker.objects import ObjectsLoop
from proxy.worker.observed import Observed
from proxy.worker.partitions import PartitionsLoop
from proxy.worker.seed import SeedLoop
from proxy.worker.spool import SpoolLoop
from proxy.worker.sweep import SweepLoop
from proxy.worker.vitals import Vitals

log = logging.getLogger(__name__)


class Worker:
    """One worker process: its loops run until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stop = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        settings = self.settings
        stores, holds_settings = settings.stores, settings.holds
        database_url, redis_url = store_urls(settings)
        shards = range(stores.shards)
        self.metrics = Metrics()
        observed = Observed(self.metrics)
        self.pool = await open_pool(database_url, max_size=stores.database_pool, application_name="synapscale worker")
        self.redis = open_redis(redis_url, max_connections=stores.redis_pool)
        self.bus = Bus(redis_url, client_name="synapscale-worker")
        holds = Holds(self.bus, lease_ms=int(holds_settings.lease_s * 1000))
        epochs = EpochsLoop(self.pool, self.redis, shards=shards)
        self.bus.on_connect = epochs.reconnected
        await self.bus.start()
        self._run(SeedLoop(self.pool, holds, observed, shards=shards).run, "seed")
        self._run(epochs.run, "epochs")
        self._run(PartitionsLoop(self.pool).run, "partitions")
        self._run(ObjectsLoop(self.pool).run, "objects")
        self._run(AlertsLoop(self.pool, self.metrics).run, "alerts")
        self._run(SpoolLoop(stores.data_dir / "spool", holds, observed).run, "spool")
        sweep = SweepLoop(
            holds, observed, shards=shards, lease_s=holds_settings.lease_s, margin_s=holds_settings.sweep_grace_s,
            sweep_every_s=min(5.0, holds_settings.lease_s),
        )  # fmt: skip
        self._run(sweep.run, "sweep")
        of_shard = streams(settings, self.redis)
        for shard in shards:
            stream = of_shard[shard]
            writer = LedgerWriter(self.pool, stream, observed, shard=shard)
            self._run(LedgerLoop(writer, stream, shard=shard).run, f"ledger {shard}")
        vitals = Vitals(
            self.pool, self.redis, streams(settings, self.redis), stores.data_dir / "spool", self.metrics, role="worker"
        )
        self._run(vitals.run, "vitals")
        self.ticker = Ticker()
        self.ticker.watch(Ticks(lambda now: self.metrics.flush()))
        self.ticker.start()
        await self._listen()

    async def _listen(self) -> None:
        """For monitors: `/metrics` and `/health/*`, where `worker.port` says so."""
        host, port = self.settings.worker.host, self.settings.worker.port
        if port is None:
            return
        app = web.Application()
        add_health(app, self.metrics, self.checks, version("synapscale-gateway"))
        self.runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self.runner.setup()
        await web.TCPSite(self.runner, host, port).start()
        log.info("metrics and health on %s", self.runner.addresses[0])

    async def checks(self) -> dict[str, str | None]:
        """For /health/ready: asked, not remembered."""
        postgres, used = await answers(self.pool, within_s=READY_QUERY_S), await memory(self.redis)
        return {"postgres": None if postgres else "away", "redis": "away" if used is None else None}

    def _run(self, loop: Callable[[asyncio.Event], Awaitable[None]], name: str) -> None:
        async def run() -> None:
            await loop(self._stop)

        task = asyncio.get_running_loop().create_task(run(), name=name)
        task.add_done_callback(self._ended)
        self._loops.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A loop that ends by a bug takes the process with it: the supervisor starts a whole one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the loop %s ended: %r", task.get_name(), error, exc_info=error)
            os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self) -> None:
        self._stop.set()
        if self._loops:
            await asyncio.wait(self._loops, timeout=20)
        for task in self._loops:
            task.cancel()
        if hasattr(self, "runner"):
            await self.runner.cleanup()
        if hasattr(self, "ticker"):
            self.ticker.stop()
            await self.bus.stop()
            await self.redis.aclose()
            await asyncio.wait([asyncio.ensure_future(self.pool.close())], timeout=5)
