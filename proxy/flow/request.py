"""The stages of one request in their order: who, where, whose key; then attempts until one answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from proxy.catalog.cache import CatalogCache
from proxy.flow.attempt import Attempt, Desks, Failed, Stale, store_away
from proxy.flow.live import Live, LiveChannel, LiveRequests
from proxy.flow.ways import Way, Ways
from proxy.holds.away import StoreAway
from proxy.holds.client import AdmitReply
from proxy.identity.principal import Principal
from proxy.identity.resolve import Resolver
from proxy.storage.postgres import POSTGRES_AWAY
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import NIL, to_wire
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

# Each reload reads Postgres; more than this many changes within one request are not changes but a fault.
RELOADS_MAX = 4

# What this process knows of workspace and catalog says no, and another process may have changed them since.
_FROM_THE_CACHE = frozenset([Reason.LLM_NOT_FOUND, Reason.LLM_NOT_ALLOWED, Reason.NO_PROVIDER_KEY])

# After so many, Postgres itself is taken to be behind Redis: a backup was restored.
RELOADS_BEFORE_LIFT = 2


class Epochs(Protocol):
    async def publish(self, raised: Mapping[UUID, int]) -> None:
        """Tells Redis the epochs that Postgres has; it never lowers one."""

    async def lift(self, at_least: Mapping[UUID, int]) -> None:
        """Raises Postgres' epochs to those of Redis."""


class RequestFlow:
    """One per gateway."""

    def __init__(self, desks: Desks, resolver: Resolver, catalog: CatalogCache, epochs: Epochs) -> None:
        self._desks = desks
        self._resolver = resolver
        self._catalog = catalog
        self._epochs = epochs
        self._ways = Ways(desks.upstreams, desks.clock)
        self._live = LiveRequests(resolver)

    def on_epochs(self, workspace_id: UUID, workspace_epoch: int | None, global_epoch: int | None) -> None:
        """A lease renewal saw these epochs: a revocation also ends answers that are under way."""
        self._live.on_epoch(workspace_id, workspace_epoch)

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
            behind = await self._behind(principal)
            if behind is None:
                return principal
            await self.refresh(principal, behind)
        raise store_away()

    def can_serve(self, principal: Principal, llm: str) -> bool:
        """Whether a request of this key for this llm would be sent: it is there, allowed, and a provider key can be used."""
        try:
            return bool(self._ways.find(principal, self._catalog.current, llm, "chat"))
        except Refused:
            return False

    async def _behind(self, principal: Principal) -> AdmitReply | None:
        """What `admit` would say to the epochs of this process; None: they are not behind. Raises `Refused`."""
        holds = self._desks.holds
        try:
            _, workspace_epoch, global_epoch = await holds.check(holds.scope(principal.shard, principal.workspace_id))
        except StoreAway as away:
            raise store_away() from away
        if (
            workspace_epoch is not None
            and workspace_epoch <= principal.workspace_epoch
            and global_epoch is not None
            and global_epoch <= self._catalog.current.epoch
        ):
            return None
        return AdmitReply("stale", 0, workspace_epoch, global_epoch)

    async def run(
        self, request: ClientRequest, token: str, principal: Principal, channel: LiveChannel, started: float
    ) -> None:
        """Until the client has its answer or has left. `principal` is what `authenticate` just found for `token`.

        Raises `Refused` only where no answer has begun.
        """
        live = self._live.enter(token, to_wire("req", request.request_id).encode(), channel)
        try:
            await self._attempts(request, principal, channel, started, live)
        finally:
            self._live.leave(live)

    async def _attempts(
        self, request: ClientRequest, principal: Principal, channel: LiveChannel, started: float, live: Live
    ) -> None:
        number = 0
        reloads = 0
        failed: Failed | None = None
        tried: set[tuple[UUID, bool]] = set()
        while True:
            try:
                catalog = self._catalog.current
                ways = self._ways.find(principal, catalog, request.llm, request.surface)
                way = ways[0] if failed is None else _next_way(ways, tried, failed, principal)
                if way is None:
                    assert failed is not None  # the first way is always untried
                    failed.deliver()
                    return
                live.principal = principal
                attempt = Attempt(self._desks, request, principal, way, channel, started, number + 1)
                outcome = await attempt.run(catalog.epoch)
            except Stale as stale:
                behind = stale.reply
            except Refused as refusal:
                # Refused before any `admit`, so nobody has compared epochs: perhaps it is allowed by now.
                found = await self._behind(principal) if refusal.reason in _FROM_THE_CACHE else None
                if found is None:
                    raise
                behind = found
            else:
                if outcome is None:
                    return
                number += 1
                failed = outcome
                tried.add((way.route.id, way.candidate.own is not None))
                continue
            reloads += 1
            if reloads > RELOADS_MAX:
                log.error("the epochs of workspace %s do not settle: %s", principal.workspace_id, behind)
                raise store_away()
            if reloads > RELOADS_BEFORE_LIFT:
                await self._lift(principal, behind)
            await self.refresh(principal, behind)
            principal = await self.authenticate(live.token)

    async def refresh(self, principal: Principal, reply: AdmitReply) -> None:
        """After `stale`: whatever is behind Redis is read from Postgres; what Redis lost, it is told."""
        if reply.workspace_epoch is None or reply.workspace_epoch > principal.workspace_epoch:
            self._resolver.drop_workspace(principal.workspace_id)
        if reply.global_epoch is None or reply.global_epoch > self._catalog.current.epoch:
            try:
                await self._catalog.reload()
            except POSTGRES_AWAY as away:
                raise store_away() from away
        missing: dict[UUID, int] = {}
        if reply.workspace_epoch is None:
            missing[principal.workspace_id] = principal.workspace_epoch
        if reply.global_epoch is None:
            missing[NIL] = self._catalog.current.epoch
        if missing:
            await self._epochs.publish(missing)

    async def _lift(self, principal: Principal, reply: AdmitReply) -> None:
        found = {principal.workspace_id: reply.workspace_epoch, NIL: reply.global_epoch}
        try:
            await self._epochs.lift({scope: epoch for scope, epoch in found.items() if epoch is not None})
        except POSTGRES_AWAY as away:
            raise store_away() from away


def _next_way(ways: list[Way], tried: set[tuple[UUID, bool]], failed: Failed, principal: Principal) -> Way | None:
    """The first untried way that the failure allows: another route, or the global key after an own one."""
    for way in ways:
        is_own = way.candidate.own is not None
        if (way.route.id, is_own) in tried:
            continue
        same_route = any(route_id == way.route.id for route_id, _ in tried)
        if same_route:
            if failed.other_key and not is_own and principal.key_policy == "own_then_global":
                return way
        elif failed.other_route:
            return way
    return None
