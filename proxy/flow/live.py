"""Requests under way, so that a revocation ends them too: found by the epochs that lease renewals bring."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from uuid import UUID

from proxy.flow.answer import refusal_head
from proxy.identity.principal import Principal
from proxy.identity.resolve import Resolver
from proxy.relay.client_channel import ClientChannel
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)


class LiveChannel(ClientChannel, Protocol):
    def cut(self, status: int, head: bytes, body: bytes, event: bytes) -> None:
        """Ends the answer from our side; the client counts as gone from then on."""


class Live(Protocol):
    """One request under way."""

    token: str
    request_id: bytes
    channel: LiveChannel
    principal: Principal

    def error_event(self, body: bytes) -> bytes:
        """An error in OpenAI's shape as the event that ends this answer's stream."""


class LiveRequests:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._live: dict[Live, None] = {}
        self._checks: dict[UUID, asyncio.Task[None]] = {}

    def enter(self, live: Live) -> None:
        self._live[live] = None

    def leave(self, live: Live) -> None:
        self._live.pop(live, None)

    def end_all(self, refusal: Refused) -> None:
        """The process ends: clients hear it as an error, never as the end of an answer."""
        for live in list(self._live):
            _cut(live, refusal)

    def on_epoch(self, workspace_id: UUID, epoch: int | None) -> None:
        if epoch is None or workspace_id in self._checks:
            return
        behind = [live for live in self._live if _is_behind(live, workspace_id, epoch)]
        if not behind:
            return
        self._resolver.drop_workspace(workspace_id)
        check = asyncio.get_running_loop().create_task(self._check(behind), name="revocation of live requests")
        self._checks[workspace_id] = check
        check.add_done_callback(lambda _: self._checks.pop(workspace_id, None))

    async def _check(self, behind: list[Live]) -> None:
        for live in behind:
            try:
                live.principal = await self._resolver.resolve(live.token)
            except Refused as refusal:
                if refusal.reason is Reason.STORE_AWAY:
                    return  # nobody knows: the next renewal asks again
                log.info("a request under way is ended: %s", refusal.reason.value.code)
                _cut(live, refusal)


def _cut(live: Live, refusal: Refused) -> None:
    body = refusal.body()
    live.channel.cut(refusal.status, refusal_head(refusal, live.request_id), body, live.error_event(body))


def _is_behind(live: Live, workspace_id: UUID, epoch: int) -> bool:
    principal = live.principal
    return principal.workspace_id == workspace_id and principal.workspace_epoch < epoch
