"""Builds every object of a gateway or a worker, starts them in order and stops them in the reverse one.

The only place that chooses who fills which seam. Nobody imports it but the command line.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from uuid import UUID, uuid4

import uvloop
from aiohttp import web

from proxy.api.context import ApiContext
from proxy.api.routes import add_api
from proxy.audit.write import ManagementWriter
from proxy.catalog.cache import CatalogCache
from proxy.epochs import store as epochs_store
from proxy.epochs.publish import publish
from proxy.flow.attempt import Desks
from proxy.flow.request import RequestFlow
from proxy.flow.upstreams import Timeouts, Upstreams
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.holds.keys import usage_key
from proxy.identity import store as identity_store
from proxy.identity.hashing import KeyHasher
from proxy.identity.resolve import Resolver
from proxy.ingress.chat import PATH as CHAT_PATH
from proxy.ingress.chat import ChatIngress
from proxy.ingress.models import add_models
from proxy.ledger.stream import UsageStream
from proxy.ledger.writer import LedgerWriter
from proxy.metering.estimate import Estimator
from proxy.outbound.lane import LaneLimits
from proxy.outbound.pool import Pool as UpstreamPool
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from proxy.relay.echo import Echo
from proxy.relay.pump import PumpPolicy
from proxy.server.connection import Limits
from proxy.server.health import add_health
from proxy.server.listener import Listener
from proxy.server.middleware import dress, make_middleware
from proxy.settings.key_files import master_key
from proxy.settings.tree import Settings
from proxy.settlement.desk import Desk
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool
from proxy.storage.away import StoreAway
from proxy.storage.postgres import POSTGRES_AWAY, SCHEMA_MISSING, Pool, open_pool
from proxy.storage.redis import REDIS_AWAY, Redis, open_redis
from proxy.telemetry.clock import Clock
from proxy.telemetry.logs import start_logging
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.ready import announce_ready
from proxy.vault import store as variables
from proxy.vault.seal import Vault
from proxy.wire.ids import NIL
from proxy.worker.epochs import EpochsLoop
from proxy.worker.ledger import LedgerLoop
from proxy.worker.observed import Observed
from proxy.worker.partitions import PartitionsLoop
from proxy.worker.seed import SeedLoop
from proxy.worker.spool import SpoolLoop
from proxy.worker.sweep import SweepLoop

log = logging.getLogger(__name__)
MIB = 1024 * 1024
START_RETRY_S = 0.5
READY_QUERY_S = 2.0
SHARDS_S = 0.5
SETTLE_S = 2.0  # at shutdown, for what has lost its client or its provider


def run_gateway(settings: Settings, *, fd: int | None, index: int, ready_fd: int | None) -> int:
    """Serves until SIGTERM or SIGINT. `fd`: an inherited listening socket."""
    sock = socket.socket(fileno=fd) if fd is not None else _listen(settings.server.host, settings.server.port)
    return uvloop.run(_run(settings, lambda: Gateway(settings, sock), ready_fd))


def run_worker(settings: Settings, *, ready_fd: int | None) -> int:
    """Stream to ledger, sweeping, epochs, partitions, until SIGTERM or SIGINT."""
    return uvloop.run(_run(settings, lambda: Worker(settings), ready_fd))


async def _run(settings: Settings, make: Callable[[], Gateway | Worker], ready_fd: int | None) -> int:
    listener = start_logging(settings.log.level, settings.log.format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    role = make()
    try:
        starting = asyncio.ensure_future(role.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _rest_the_collector()
            announce_ready(ready_fd)
            await stopping
        else:
            starting.cancel()
            await asyncio.wait([starting])
        await role.stop()
        return 0
    finally:
        listener.stop()


def _rest_the_collector() -> None:
    """Requests leave no cycles behind, so that their memory is free at once; what is left to find is rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


class EpochKeeper:
    """Epochs in both stores: told to Redis, each in the shards that it concerns; lifted in Postgres."""

    def __init__(self, pool: Pool, redis: Redis, shards: int) -> None:
        self._pool = pool
        self._redis = redis
        self._shards = range(shards)

    async def lift(self, at_least: Mapping[UUID, int]) -> None:
        async with self._pool.acquire(timeout=READY_QUERY_S) as conn:
            await epochs_store.lift(conn, at_least)

    async def publish(self, raised: Mapping[UUID, int]) -> None:
        shard_of = await self._shard_of([scope for scope in raised if scope != NIL])

        def shards(scope: UUID) -> Iterable[int]:
            return [shard_of[scope]] if scope in shard_of else self._shards

        try:
            await publish(self._redis, shards, raised)
        except REDIS_AWAY as away:
            raise StoreAway(f"epochs are not told: {away}") from away

    async def _shard_of(self, workspaces: list[UUID]) -> dict[UUID, int]:
        """Empty: not needed, or Postgres went away after the commit. A block must be told all the same: to every shard."""
        if not workspaces or len(self._shards) == 1:
            return {}
        try:
            async with self._pool.acquire(timeout=SHARDS_S) as conn:
                return dict(await identity_store.shards_of(conn, workspaces))
        except POSTGRES_AWAY:
            return {}


class _Ticks:
    """A function as the ticker's watcher."""

    def __init__(self, function: Callable[[float], None]) -> None:
        self.tick = function


class Gateway:
    """One gateway process. `flow` and `desk` exist after `start`."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self.settings = settings
        self.sock = sock
        self.clock = Clock()
        self.metrics = Metrics()

    async def start(self) -> None:
        """Until it can serve: waits for stores that are not there yet."""
        settings, clock, metrics = self.settings, self.clock, self.metrics
        stores, upstream = settings.stores, settings.upstream
        database_url, redis_url = _store_urls(settings)
        master = master_key(settings)
        vault, hasher = Vault(master), KeyHasher(master.hash_key)
        self.pool = await open_pool(database_url, max_size=stores.database_pool, application_name="synapscale gateway")
        self.redis = open_redis(redis_url, max_connections=stores.redis_pool)
        self.catalog = CatalogCache(self.pool)
        self.bus = Bus(redis_url, client_name="synapscale-gateway")
        self.holds = Holds(self.bus, lease_ms=int(settings.holds.lease_s * 1000))
        self.ticker = Ticker()
        global_keys = _global_keys(settings)
        limits = LaneLimits(max_connections=upstream.max_connections, idle_limit_s=upstream.keep_alive_s)
        self.upstream_pool = UpstreamPool(self.ticker, client_context(upstream.ca_file), limits=limits)
        timeouts = Timeouts(upstream.connect_timeout_s, upstream.first_byte_timeout_s, upstream.idle_timeout_s)
        upstreams = Upstreams(self.upstream_pool, vault, global_keys, timeouts, Echo(lambda: clock.now_ms() // 1000))
        self.estimator = Estimator()
        self.spool = Spool.open(stores.data_dir / "spool", f"{os.getpid()}-{uuid4().hex[:12]}")
        self.desk = Desk(
            self.holds, self.spool, Ring(window_s=settings.holds.ring_s), clock, metrics,
            settle_deadline_s=settings.holds.settle_deadline_ms / 1000, renew_after_s=settings.holds.renew_after_s,
            on_epochs=lambda workspace_id, workspace, everyone: self.flow.on_epochs(workspace_id, workspace, everyone),
        )  # fmt: skip
        policy = PumpPolicy(
            drain_s=upstream.drain_s,
            drain_frames=upstream.drain_tokens,
            write_timeout_s=settings.server.write_timeout_s,
        )
        desks = Desks(self.desk, self.holds, upstreams, self.estimator, self.ticker, clock, metrics, policy)
        epochs = EpochKeeper(self.pool, self.redis, stores.shards)
        resolver = Resolver(self.pool, hasher, clock, variables.usable)
        self.flow = RequestFlow(desks, resolver, self.catalog, epochs)
        writer = ManagementWriter(self.pool, vault, epochs.publish, clock)
        context = ApiContext(
            self.pool, writer, vault, hasher, resolver, clock, shards=stores.shards, global_keys=frozenset(global_keys)
        )
        self._make_listener(context)
        await self._until_up()
        await self.listener.start([self.sock], _server_tls(settings))
        log.info("serving on %s", self.sock.getsockname())

    def _make_listener(self, context: ApiContext) -> None:
        server = self.settings.server
        limits = Limits(
            head_timeout_s=server.header_timeout_s, body_timeout_s=server.body_timeout_s, write_timeout_s=server.write_timeout_s,
            keepalive_timeout_s=server.keep_alive_s, max_body_bytes=server.max_body_mib * MIB, max_in_flight=server.max_in_flight,
        )  # fmt: skip
        app = web.Application(
            client_max_size=limits.max_body_bytes, middlewares=[make_middleware(self.clock, self.metrics)]
        )
        app.on_response_prepare.append(dress)
        add_health(app, self.metrics, self.checks, version("synapscale-gateway"))
        add_models(app, self.flow, self.catalog)
        add_api(app, context)
        self.chat = ChatIngress(self.flow, limits, self.clock, self.metrics, lambda: self.listener.draining)
        self.listener = Listener(app, {CHAT_PATH: self.chat.handle}, self.chat, limits)

    async def _until_up(self) -> None:
        self.bus.on_connect = self.desk.on_reconnect
        await self.bus.start()
        await _until(self._catalog_loaded, "Postgres answers and holds the schema")
        await _until(self._seeded, "Redis answers and is seeded by a worker")
        for tick in (lambda now: self.desk.tick(), self.listener.tick, self._measure):
            self.ticker.watch(_Ticks(tick))
        self.ticker.start()

    async def _catalog_loaded(self) -> bool:
        await self.catalog.reload()
        return self.catalog.current.epoch > 0

    async def _seeded(self) -> bool:
        return await self.holds.gen(0) is not None

    def _measure(self, now: float) -> None:
        self.metrics.in_flight.set(self.chat.in_flight)
        self.metrics.flush()

    async def checks(self) -> dict[str, str | None]:
        """For /health/ready: asked, not remembered."""
        found: dict[str, str | None] = {"accepting": "shutting down" if self.listener.draining else None}
        try:
            async with self.pool.acquire(timeout=READY_QUERY_S) as conn:
                await identity_store.shards_of(conn, [])
            found["postgres"] = None
        except POSTGRES_AWAY as away:
            found["postgres"] = f"away: {type(away).__name__}"
        try:
            seeded = await asyncio.wait_for(self._seeded(), READY_QUERY_S)
            found["redis"] = None if seeded else "not seeded: no worker has been here"
        except (StoreAway, TimeoutError) as away:
            found["redis"] = f"away: {away}"
        return found

    async def stop(self) -> None:
        """Stop accepting, finish streams within the grace, settle, leave nothing behind."""
        if hasattr(self, "listener"):
            self.listener.stop_accepting()
            if not await self._idle(self.settings.server.shutdown_grace_s):
                self.flow.end_all()
                await self._idle(SETTLE_S)
            await self.upstream_pool.close()  # what still drains ends here, and settles with what is known
            await self._idle(SETTLE_S)
            await self.listener.close(SETTLE_S)
            await self.desk.close(SETTLE_S)
            self.ticker.stop()
            self.estimator.close()
            await self.bus.stop()
            await self.redis.aclose()
            await asyncio.wait([asyncio.ensure_future(self.pool.close())], timeout=5)
        self.sock.close()

    async def _idle(self, within_s: float) -> bool:
        for _ in range(int(within_s / 0.02)):
            if not self.chat.in_flight:
                return True
            await asyncio.sleep(0.02)
        return not self.chat.in_flight


class Worker:
    """One worker process: its loops run until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stop = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        settings = self.settings
        stores, holds_settings, ledger = settings.stores, settings.holds, settings.ledger
        database_url, redis_url = _store_urls(settings)
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
        self._run(SpoolLoop(stores.data_dir / "spool", holds, observed).run, "spool")
        sweep = SweepLoop(
            holds, observed, shards=shards, lease_s=holds_settings.lease_s, margin_s=holds_settings.sweep_grace_s,
            sweep_every_s=min(5.0, holds_settings.lease_s),
        )  # fmt: skip
        self._run(sweep.run, "sweep")
        for shard in shards:
            stream = UsageStream(
                self.redis, usage_key(shard), batch_entries=ledger.batch, retention_s=ledger.retention_s
            )
            writer = LedgerWriter(self.pool, stream, observed, shard=shard)
            self._run(LedgerLoop(writer, stream, shard=shard).run, f"ledger {shard}")
        self.ticker = Ticker()
        self.ticker.watch(_Ticks(lambda now: self.metrics.flush()))
        self.ticker.start()

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
        if hasattr(self, "ticker"):
            self.ticker.stop()
            await self.bus.stop()
            await self.redis.aclose()
            await asyncio.wait([asyncio.ensure_future(self.pool.close())], timeout=5)


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Stores may come up after us: wait, and say for what."""
    told = 0.0
    while True:
        try:
            if await holds():
                return
            why = "not yet"
        except (*POSTGRES_AWAY, *SCHEMA_MISSING, *REDIS_AWAY) as away:
            why = str(away) or type(away).__name__
        if time.monotonic() - told > 10:
            told = time.monotonic()
            log.info("waiting until %s: %s", what, why)
        await asyncio.sleep(START_RETRY_S)


def _global_keys(settings: Settings) -> dict[str, str]:
    """By provider. An empty key: the provider takes calls without one."""
    keys = {name: "" for name, each in settings.providers.items() if each.auth == "none"}
    return keys | {
        name: each.api_key.get_secret_value() for name, each in settings.providers.items() if each.api_key is not None
    }


def _store_urls(settings: Settings) -> tuple[str, str]:
    database_url, redis_url = settings.stores.database_url, settings.stores.redis_url
    if database_url is None or redis_url is None:
        raise ValueError("a single process needs DATABASE_URL and REDIS_URL")
    return database_url.get_secret_value(), redis_url.get_secret_value()


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)


def _server_tls(settings: Settings) -> ssl.SSLContext | None:
    cert: Path | None = settings.server.tls_cert_file
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, settings.server.tls_key_file)
    return context
