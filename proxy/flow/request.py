"""The stages of one request in their order: who, where, whose key; then attempts until one answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol, assert_never
from uuid import UUID

from proxy.admission.places import Place
from proxy.catalog.cache import CatalogCache
from proxy.flow.attempt import Attempt, Desks, Ended, Failed, Served, Stale, store_away
from proxy.flow.gate import GatedChannel
from proxy.flow.live import LiveChannel, LiveRequests
from proxy.flow.ties import FREE, Mints, Ties, may_tie, not_there, tie
from proxy.flow.ways import Way, Ways
from proxy.holds.away import StoreAway
from proxy.holds.client import AdmitReply
from proxy.identity.principal import Principal
from proxy.identity.resolve import Resolver
from proxy.objects.objects import Objects
from proxy.providers.support import SURFACES
from proxy.relay.client_channel import ClientChannel
from proxy.storage.postgres import POSTGRES_AWAY
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import NIL
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

# Each reload reads Postgres; more than this many changes within one request are not changes but a fault.
RELOADS_MAX = 4

# What this process knows of workspace and catalog says no, and another process may have changed them since.
_FROM_THE_CACHE = frozenset(
    [Reason.LLM_NOT_FOUND, Reason.LLM_NOT_ALLOWED, Reason.NO_PROVIDER_KEY, Reason.LLM_UNPRICED]
)

# After so many, Postgres itself is taken to be behind Redis: a backup was restored.
RELOADS_BEFORE_LIFT = 2


class Epochs(Protocol):
    async def publish(self, raised: Mapping[UUID, int]) -> None:
        """Tells Redis the epochs that Postgres has; it never lowers one."""

    async def lift(self, at_least: Mapping[UUID, int]) -> None:
        """Raises Postgres' epochs to those of Redis."""


class RequestFlow:
    """One per gateway."""

    def __init__(
        self, desks: Desks, resolver: Resolver, catalog: CatalogCache, epochs: Epochs, objects: Objects
    ) -> None:
        self.desks = desks
        self._resolver = resolver
        self.catalog = catalog
        self._epochs = epochs
        self.objects = objects
        self.ways = Ways(desks.upstreams, desks.clock)
        self._live = LiveRequests(resolver)
        self._tasks: set[asyncio.Task[None]] = set()

    def on_epochs(self, workspace_id: UUID, workspace_epoch: int | None, global_epoch: int | None) -> None:
        """A lease renewal saw these epochs: a revocation also ends answers that are under way."""
        self._live.on_epoch(workspace_id, workspace_epoch)

    def digest(self, token: str) -> bytes:
        return self._resolver.digest(token)

    def peek(self, digest: bytes) -> Principal | None:
        """Whose token it is, from the cache; None: ask `authenticate`."""
        return self._resolver.peek_digest(digest)

    async def authenticate(self, token: str) -> Principal:
        """Raises `Refused`. From the cache on the hot path."""
        return self._resolver.peek(token) or await self._resolver.resolve(token)

    def end_all(self) -> None:
        """At shutdown, when the grace is over."""
        self._live.end_all(
            Refused(
                Reason.DRAINING, "This gateway is shutting down before the answer was complete. Retry.", retry_after_s=1
            )
        )

    async def authorise(self, token: str) -> Principal:
        """For surfaces that announce nothing: the epochs that `admit` would have compared. Raises `Refused`."""
        for _ in range(RELOADS_MAX):
            principal = await self.authenticate(token)
            behind = await self.behind(principal)
            if behind is None:
                return principal
            await self.refresh(principal, behind)
        raise store_away()

    def can_serve(self, principal: Principal, llm: str) -> bool:
        """Whether some request of this key for this llm would be sent: it is there, allowed, a provider key can be used."""
        for surface in SURFACES:
            try:
                return bool(self.ways.find(principal, self.catalog.current, llm, surface))
            except Refused:
                continue
        return False

    def may_tie(self, surface: str, raw: bytes) -> bool:
        """Whether `tie` has to be asked."""
        return may_tie(surface, raw)

    async def tie(self, token: str, principal: Principal, surface: str, raw: bytes) -> Ties:
        """What ties a request to an account at a provider. Raises `Refused`."""
        if not may_tie(surface, raw):
            return FREE
        try:
            return await tie(self.objects, principal, surface, raw)
        except Refused as refusal:
            # Whether it is there hangs on the keys that the caller may use, and another process may have changed those.
            if refusal.status != 404 or (behind := await self.behind(principal)) is None:
                raise
        await self.refresh(principal, behind)
        return await tie(self.objects, await self.authenticate(token), surface, raw)

    async def behind(self, principal: Principal) -> AdmitReply | None:
        """What `admit` would say to the epochs of this process; None: they are not behind. Raises `Refused`."""
        holds = self.desks.holds
        try:
            _, workspace_epoch, global_epoch = await holds.check(holds.scope(principal.shard, principal.workspace_id))
        except StoreAway as away:
            raise store_away() from away
        if (
            workspace_epoch is not None
            and workspace_epoch <= principal.workspace_epoch
            and global_epoch is not None
            and global_epoch <= self.catalog.current.epoch
        ):
            return None
        return AdmitReply("stale", 0, workspace_epoch, global_epoch)

    def start(
        self,
        request: ClientRequest,
        token: str,
        principal: Principal,
        channel: LiveChannel,
        started: float,
        done: Callable[[Refused | None], None],
        ties: Ties = FREE,
    ) -> Exchange:
        """`done` is called once: the client has its answer, or has left (None), or is to be refused.

        `principal` is what `authenticate` just found for `token`; `started` the loop's time when the request began.
        """
        exchange = Exchange(self, request, token, principal, channel, started, done, ties)
        self._live.enter(exchange)
        exchange.next_attempt()
        return exchange

    async def run(
        self, request: ClientRequest, token: str, principal: Principal, channel: LiveChannel, started: float, ties: Ties
    ) -> None:
        """`start`, for who waits. Raises `Refused`."""
        done: asyncio.Future[Refused | None] = self.desks.desk.loop.create_future()

        def resolve(refusal: Refused | None) -> None:
            if not done.done():
                done.set_result(refusal)

        exchange = self.start(request, token, principal, channel, started, resolve, ties)
        try:
            refusal = await done
        finally:
            exchange.cancel()
        if refusal is not None:
            raise refusal

    def leave(self, exchange: Exchange) -> None:
        self._live.leave(exchange)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self.desks.desk.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def refresh(self, principal: Principal, reply: AdmitReply) -> None:
        """After `stale`: whatever is behind Redis is read from Postgres; what Redis lost, it is told."""
        if reply.workspace_epoch is None or reply.workspace_epoch > principal.workspace_epoch:
            self._resolver.drop_workspace(principal.workspace_id)
        if reply.global_epoch is None or reply.global_epoch > self.catalog.current.epoch:
            try:
                await self.catalog.reload()
            except POSTGRES_AWAY as away:
                raise store_away() from away
        missing: dict[UUID, int] = {}
        if reply.workspace_epoch is None:
            missing[principal.workspace_id] = principal.workspace_epoch
        if reply.global_epoch is None:
            missing[NIL] = self.catalog.current.epoch
        if missing:
            await self._epochs.publish(missing)

    async def lift(self, principal: Principal, reply: AdmitReply) -> None:
        found = {principal.workspace_id: reply.workspace_epoch, NIL: reply.global_epoch}
        try:
            await self._epochs.lift({scope: epoch for scope, epoch in found.items() if epoch is not None})
        except POSTGRES_AWAY as away:
            raise store_away() from away


class Exchange:
    """One request under way: attempts until one answers. What takes longer than a callback runs in a task."""

    __slots__ = ("_attempt", "_done", "_failed", "_flow", "_gate", "_number", "_place", "_refused_own", "_reloads", "_request", "_started",
                 "_ties", "_tried", "channel", "principal", "request_id", "token")  # fmt: skip

    def __init__(
        self, flow: RequestFlow, request: ClientRequest, token: str, principal: Principal, channel: LiveChannel,
        started: float, done: Callable[[Refused | None], None], ties: Ties,
    ) -> None:  # fmt: skip
        self._flow = flow
        self._request = request
        self.token = token
        self.principal = principal
        self.channel = channel
        self.request_id = b"req_%032x" % request.request_id.int
        self._started = started
        self._done: Callable[[Refused | None], None] | None = done
        self._number = 0
        self._reloads = 0
        self._failed: Failed | None = None
        self._refused_own = False  # by the attempt that failed
        self._tried: set[tuple[UUID, bool]] = set()
        self._attempt: Attempt | None = None
        self._place: Place | None = None  # taken for the attempt
        self._ties = ties
        self._gate: GatedChannel | None = None

    def next_attempt(self) -> None:
        try:
            self._begin_attempt()
        except Refused as refusal:
            if refusal.reason in _FROM_THE_CACHE or self._ties.accounts is not None:
                # Refused before any `admit`, so nobody has compared epochs: perhaps it is allowed by now.
                self._flow.spawn(self._ask_again(refusal), "ask whether a refusal is still right")
            else:
                self._over(refusal)

    def error_event(self, body: bytes) -> bytes:
        """As `Live` has it. No attempt: no stream has begun."""
        return b"" if self._attempt is None else self._attempt.error_event(body)

    def cancel(self) -> None:
        """Whoever waited has gone; after the end it does nothing."""
        if self._done is not None:
            self._done = None
            self._flow.leave(self)
            self._leave_place()
            if self._attempt is not None:
                self._attempt.cancel()

    def _begin_attempt(self) -> None:
        flow, request, principal, failed = self._flow, self._request, self.principal, self._failed
        catalog = flow.catalog.current
        ties = self._ties
        ways = flow.ways.find(principal, catalog, request.llm, request.surface, tied=ties.accounts is not None)
        if ties.accounts is not None:
            ways = [way for way in ways if ties.allow(way.candidate)]
            if not ways:
                raise not_there(request.llm)
        if failed is None:
            way: Way | None = _first_way(ways)
        else:
            way = _next_way(ways, self._tried, failed, principal, refused_own=self._refused_own)
        if way is None:
            assert failed is not None  # the first way is always untried
            failed.deliver()
            self._over(None)
            return
        channel: ClientChannel = self.channel
        if ties.mints:
            mints = Mints(flow.objects, principal, way.candidate, request.surface, lasting=ties.lasting)
            channel = self._gate = GatedChannel(channel, mints, self.request_id, flow.spawn)
        attempt = Attempt(
            flow.desks, request, self.request_id, way, channel, self._started, self._number + 1, self._ended,
            flow.spawn,
        )  # fmt: skip
        self._attempt = attempt
        place = self._place = way.place
        place.taken += 1
        try:
            attempt.begin(principal, catalog.epoch)
        except BaseException:
            self._leave_place()
            raise

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.taken -= 1

    def _ended(self, end: Ended) -> None:
        self._leave_place()
        if self._done is None:
            return
        match end:
            case Served():
                self._over(None)
            case Failed():
                attempt = self._attempt
                assert attempt is not None
                self._number += 1
                self._failed = end
                self._refused_own = end.other_key and attempt.way.candidate.own is not None
                self._tried.add((attempt.way.route.id, attempt.way.candidate.own is not None))
                self.next_attempt()
            case Stale(reply=reply):
                self._flow.spawn(self._again(reply), "read again what is behind")
            case Refused():
                self._over(end)
            case _:
                assert_never(end)

    async def _ask_again(self, refusal: Refused) -> None:
        try:
            behind = await self._flow.behind(self.principal)
        except Refused as away:
            self._over(away)
            return
        if behind is None:
            self._over(refusal)
        else:
            await self._again(behind)

    async def _again(self, behind: AdmitReply) -> None:
        """Reads what is behind, then the next attempt."""
        flow = self._flow
        self._reloads += 1
        try:
            if self._reloads > RELOADS_MAX:
                log.error("the epochs of workspace %s do not settle: %s", self.principal.workspace_id, behind)
                raise store_away()
            if self._reloads > RELOADS_BEFORE_LIFT:
                await flow.lift(self.principal, behind)
            await flow.refresh(self.principal, behind)
            self.principal = await flow.authenticate(self.token)
        except Refused as refusal:
            self._over(refusal)
        except Exception:
            log.exception("a request failed by a bug")
            self._over(Refused(Reason.BUG, "Internal error. Please try again, and report the request id if it stays."))
        else:
            if self._done is not None:
                self.next_attempt()

    def _over(self, refusal: Refused | None) -> None:
        done, self._done = self._done, None
        self._attempt = None  # the two hold each other
        if done is None:
            return
        self._flow.leave(self)
        if self._gate is None:
            done(refusal)
        else:
            self._gate.when_through(partial(done, refusal))


def _first_way(ways: list[Way]) -> Way:
    """The first whose provider has a place. Raises `Refused`: nothing was announced."""
    for way in ways:
        if not way.place.is_full:
            return way
    raise ways[0].place.full()


def _next_way(
    ways: list[Way], tried: set[tuple[UUID, bool]], failed: Failed, principal: Principal, *, refused_own: bool
) -> Way | None:
    """The first untried way that the failure allows: another route, or the global key after an own one; with a free place.

    `refused_own`: the provider refused an own key. Then somebody else pays, at whichever provider, only where the
    workspace wants that.
    """
    may_change_payer = principal.key_policy == "own_then_global" or not refused_own
    for way in ways:
        is_own = way.candidate.own is not None
        if (way.route.id, is_own) in tried or way.place.is_full or not (is_own or may_change_payer):
            continue
        same_route = any(route_id == way.route.id for route_id, _ in tried)
        if same_route:
            if failed.other_key and not is_own and principal.key_policy == "own_then_global":
                return way
        elif failed.other_route:
            return way
    return None
