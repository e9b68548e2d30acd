"""One gateway process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from proxy.admission.places import Places
from proxy.api.context import ApiContext
from proxy.api.routes import add_api
from proxy.app.epoch_keeper import EpochKeeper
from proxy.app.stores import READY_QUERY_S, Ticks, store_urls, streams, until
from proxy.audit.write import ManagementWriter
from proxy.catalog.cache import CatalogCache
from proxy.flow.attempt import Desks
from proxy.flow.request import RequestFlow
from proxy.flow.upstreams import Timeouts, Upstreams
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.identity.hashing import KeyHasher
from proxy.identity.resolve import Resolver
from proxy.ingress.models import add_models
from proxy.ingress.objects import add_objects
from proxy.ingress.surface import Load, Surface, SurfaceIngress
from proxy.ingress.surfaces import CHAT, OTHERS
from proxy.metering.estimate import Estimator
from proxy.objects.objects import Objects
from proxy.outbound.lane import LaneLimits
from proxy.outbound.pool import Pool as UpstreamPool
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from proxy.relay.echo import Echo
from proxy.relay.leaving import Drains
from proxy.relay.pump import PumpPolicy
from proxy.server.access import AccessLog
from proxy.server.connection import Limits
from proxy.server.cors import Cors
from proxy.server.health import add_health
from proxy.server.listener import Listener
from proxy.server.memory import MemoryGate, bound_of
from proxy.server.middleware import dress, make_middleware
from proxy.settings.key_files import master_key
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings
from proxy.settlement.desk import Desk
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool
from proxy.storage.away import StoreAway
from proxy.storage.postgres import POSTGRES_AWAY, open_pool
from proxy.storage.redis import open_redis
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.vault.keyring import Keyring
from proxy.vault.master import MasterKeyError
from proxy.worker.vitals import Vitals

log = logging.getLogger(__name__)
MIB = 1024 * 1024
SETTLE_S = 2.0  # at shutdown, for what has lost its client or its provider


class Gateway:
    """One gateway process. `flow` and `desk` exist after `start`. `hurry` ends the grace that `stop` gives."""

    def __init__(self, settings: Settings, sock: socket.socket, hurry: asyncio.Event | None = None) -> None:
        self.settings = settings
        self.sock = sock
        self.clock = Clock()
        self.metrics = Metrics()
        self.hurry = hurry or asyncio.Event()
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Until it can serve: waits for stores that are not there yet."""
        settings, clock, metrics = self.settings, self.clock, self.metrics
        stores, upstream = settings.stores, settings.upstream
        database_url, redis_url = store_urls(settings)
        self.keyring = Keyring(master_key(settings))
        self.pool = await open_pool(database_url, max_size=stores.database_pool, application_name="synapscale gateway")
        await until(self._keys_loaded, "Postgres answers and knows its master key")
        vault, hasher = self.keyring.vault, KeyHasher(self.keyring.hash_key)
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
            drains=Drains(settings.policies.drains_max),
            write_timeout_s=settings.server.write_timeout_s,
        )
        desks = Desks(self.desk, self.holds, upstreams, self.estimator, self.ticker, clock, metrics, policy)
        epochs = EpochKeeper(self.pool, self.redis, stores.shards)
        resolver = Resolver(self.pool, hasher, clock, self.keyring.usable)
        self.objects = Objects(self.pool, clock)
        self.objects.start()
        self.flow = RequestFlow(desks, resolver, self.catalog, epochs, self.objects)
        self.places = self.flow.ways.places = _places(settings)
        writer = ManagementWriter(self.pool, vault, epochs.publish, clock)
        context = ApiContext(
            self.pool, writer, vault, hasher, resolver, clock, shards=stores.shards, global_keys=frozenset(global_keys),
            body_timeout_s=settings.server.body_timeout_s, keyless=frozenset(name for name, key in global_keys.items() if not key),
        )
        self._make_listener(context)
        await self._until_up()
        vitals = Vitals(self.pool, self.redis, streams(settings, self.redis), stores.data_dir / "spool", metrics, role="gateway")
        self._vitals = asyncio.get_running_loop().create_task(vitals.run(self._stopped), name="vitals")
        await self.listener.start([self.sock], _server_tls(settings))
        log.info("serving on %s", self.sock.getsockname())

    def _make_listener(self, context: ApiContext) -> None:
        server = self.settings.server
        limits = Limits(
            head_timeout_s=server.header_timeout_s, body_timeout_s=server.body_timeout_s, write_timeout_s=server.write_timeout_s,
            keepalive_timeout_s=server.keep_alive_s, max_body_bytes=server.max_body_mib * MIB, max_in_flight=server.max_in_flight,
            max_bodies_bytes=max(server.max_bodies_mib, server.max_body_mib) * MIB,
        )  # fmt: skip
        cors = Cors(server.cors_origins)
        access = AccessLog(server.access_log)
        middleware = make_middleware(self.clock, self.metrics, cors, access)
        app = web.Application(client_max_size=limits.max_body_bytes, middlewares=[middleware])
        app.on_response_prepare.append(dress)
        add_health(app, self.metrics, self.checks, version("synapscale-gateway"))
        add_models(app, self.flow, self.catalog)
        add_api(app, context)
        self.load = Load()
        self.memory = MemoryGate(bound_of(server.max_memory_mib))
        add_objects(app, self.flow, self.load, limits.max_in_flight)

        def ingress(surface: Surface) -> SurfaceIngress:
            return SurfaceIngress(
                surface, self.flow, self.load, limits, self.clock, self.metrics, lambda: self.listener.draining, cors, access
            )

        chat = ingress(CHAT)
        hot = {CHAT.path: chat.handle} | {surface.path: ingress(surface).handle for surface in OTHERS}
        self.listener = Listener(app, hot, chat, limits)

    async def _until_up(self) -> None:
        self.bus.on_connect = self.desk.on_reconnect
        await self.bus.start()
        await until(self._catalog_loaded, "Postgres answers and holds the schema")
        await until(self._seeded, "Redis answers and is seeded by a worker")
        for tick in (lambda now: self.desk.tick(), self.listener.tick, self._measure):
            self.ticker.watch(Ticks(tick))
        self.ticker.start()

    async def _keys_loaded(self) -> bool:
        """Raises `ConfigError` where the master key is not this database's."""
        async with self.pool.acquire(timeout=READY_QUERY_S) as conn:
            try:
                return await self.keyring.load(conn)
            except MasterKeyError as wrong:
                raise ConfigError([f"{wrong}."]) from None

    async def _catalog_loaded(self) -> bool:
        await self.catalog.reload()
        return self.catalog.current.epoch > 0

    async def _seeded(self) -> bool:
        return await self.holds.gen(0) is not None

    def _measure(self, now: float) -> None:
        self.load.is_tight = self.memory.look()
        for place, times in self.places.refused():
            log.warning("%d requests to %s were refused: it holds all of its %d places", times, place.provider, place.most)
        self.metrics.in_flight.set(self.load.in_flight)
        if taken := self.objects.taken:
            self.objects.taken = 0
            self.metrics.add(self.metrics.bugs, "provider_object_taken", by=taken)
        self.metrics.flush()

    async def checks(self) -> dict[str, str | None]:
        """For /health/ready: asked, not remembered."""
        found: dict[str, str | None] = {"accepting": "shutting down" if self.listener.draining else None}
        try:
            async with self.pool.acquire(timeout=READY_QUERY_S) as conn:
                # A rotation that this process has not met yet is learnt here; with a retired key it is not ready.
                await self.keyring.load(conn)
            found["postgres"] = None
        except MasterKeyError:
            found["master_key"] = "no longer accepted: start this process with the new one"
        except POSTGRES_AWAY as away:
            found["postgres"] = f"away: {type(away).__name__}"
        try:
            seeded = await asyncio.wait_for(self._seeded(), READY_QUERY_S)
            found["redis"] = None if seeded else "not seeded: no worker has been here"
        except (StoreAway, TimeoutError) as away:
            found["redis"] = f"away: {away}"
        return found

    async def stop(self) -> None:
        """Stop accepting, finish streams within the grace, settle, leave nothing behind. The second time does nothing."""
        if self._stopped.is_set():
            return
        if hasattr(self, "listener"):
            self.listener.stop_accepting()
            if not await self._drained():
                self.flow.end_all()
                await self._idle(SETTLE_S)
            await self.upstream_pool.close()  # what still drains ends here, and settles with what is known
            await self._idle(SETTLE_S)
            await self.listener.close(SETTLE_S)
            await self.desk.close(SETTLE_S)
            await self.objects.stop(SETTLE_S)
            self._stopped.set()
            if hasattr(self, "_vitals"):
                await asyncio.wait([self._vitals], timeout=SETTLE_S)
            self.ticker.stop()
            self.estimator.close()
            await self.bus.stop()
            await self.redis.aclose()
            await asyncio.wait([asyncio.ensure_future(self.pool.close())], timeout=5)
        self.sock.close()

    async def _drained(self) -> bool:
        """Until nothing is under way, and idle connections were closed in their time. False: the grace is over before."""
        server, load, connections = self.settings.server, self.load, self.listener.connections
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.hurry.is_set() and (passed_s := loop.time() - began) < server.shutdown_grace_s:
            if passed_s >= server.idle_close_s and not connections.closes_idle:
                self.listener.close_idle()
            # Bodies that are still on their way in count as well.
            if not load.in_flight and not load.body_bytes and (connections.closes_idle or not connections.open):
                return True
            await asyncio.sleep(0.02)
        self.listener.close_idle()
        return not load.in_flight

    async def _idle(self, within_s: float) -> bool:
        for _ in range(int(within_s / 0.02)):
            if not self.load.in_flight:
                return True
            await asyncio.sleep(0.02)
        return not self.load.in_flight




def _places(settings: Settings) -> Places:
    most = max(1, int(settings.server.max_in_flight * settings.upstream.max_in_flight_share))
    own = {name: each.max_in_flight for name, each in settings.providers.items() if each.max_in_flight is not None}
    return Places(most, own)


def _global_keys(settings: Settings) -> dict[str, str]:
    """By provider. An empty key: the provider takes calls without one."""
    keys = {name: "" for name, each in settings.providers.items() if each.auth == "none"}
    return keys | {
        name: each.api_key.get_secret_value() for name, each in settings.providers.items() if each.api_key is not None
    }


def _server_tls(settings: Settings) -> ssl.SSLContext | None:
    cert: Path | None = settings.server.tls_cert_file
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, settings.server.tls_key_file)
    return context
