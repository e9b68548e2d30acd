"""A client's channel behind which the ids in an answer are recorded before the client sees them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from proxy.flow.answer import refusal_head
from proxy.flow.ties import Mints
from proxy.objects.kinds import Minted
from proxy.relay.client_channel import ClientChannel
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)


class Spawn(Protocol):
    """Runs what takes longer than a callback, in a task that somebody holds."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> None: ...


def _nothing() -> None:
    return None


class GatedChannel:
    """Implements `ClientChannel`. What comes while ids are being written down waits behind them, in its order."""

    def __init__(self, channel: ClientChannel, mints: Mints, request_id: bytes, spawn: Spawn) -> None:
        self._channel = channel
        self._mints = mints
        self._request_id = request_id
        self._spawn = spawn
        self._is_open = True
        self._behind: list[Callable[[], None]] = []
        self._behind_bytes = 0
        self._has_started = False
        self._is_events = False
        self._is_refused = False
        self._through: Callable[[], None] = _nothing

    @property
    def gone(self) -> bool:
        return self._channel.gone

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        self._channel.set_listener(on_gone, on_pause, on_resume)

    def start(self, status: int, head: bytes, *, length: int | None, events: bool = False) -> None:
        self._has_started, self._is_events = True, events
        self._channel.start(status, head, length=length, events=events)

    def write(self, data: bytes) -> None:
        found = self._mints.see(data) if self._is_events else self._mints.of_unread(data)
        self._pass(found, lambda: self._channel.write(data), len(data))

    def finish(self, last: bytes = b"") -> None:
        found = self._mints.of_end(last if self._is_events else b"")
        self._pass(found, lambda: self._channel.finish(last), len(last))

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        self._pass(self._mints.of_body(body), lambda: self._channel.answer(status, head, body), len(body))

    def abort(self) -> None:
        self._channel.abort()

    def buffered(self) -> int:
        return self._channel.buffered() + self._behind_bytes

    def when_through(self, then: Callable[[], None]) -> None:
        """Once nothing waits any more: now, or later. What a client that left has seen is recorded too."""
        self._through = then
        self._pass(self._mints.of_end(b""), self._end, 0)

    def _end(self) -> None:
        then, self._through = self._through, _nothing
        then()

    def _pass(self, found: list[Minted], give: Callable[[], None], size: int) -> None:
        if self._is_refused and give != self._end:
            return
        if not found and self._is_open:
            give()
            return
        self._behind.append(give)
        self._behind_bytes += size
        if found:
            if self._is_open:
                self._is_open = False
                self._spawn(self._record(found), "record the ids of an answer")
            else:
                self._behind[-1] = lambda: self._again(found, give)

    def _again(self, found: list[Minted], give: Callable[[], None]) -> None:
        """Its turn: these ids are still to be recorded."""
        self._is_open = False
        self._behind.insert(0, give)
        self._spawn(self._record(found), "record the ids of an answer")

    async def _record(self, found: list[Minted]) -> None:
        try:
            await self._mints.record(found)
        except Refused as refusal:
            self._refuse(refusal)
        except Exception:
            log.exception("the ids of an answer were not recorded by a bug")
            self._refuse(
                Refused(Reason.BUG, "Internal error. Please try again, and report the request id if it stays.")
            )
        self._is_open = True
        while self._behind and self._is_open:
            self._behind.pop(0)()
        if self._is_open:
            self._behind_bytes = 0

    def _refuse(self, refusal: Refused) -> None:
        """The answer must not be given: its ids could be anybody's afterwards."""
        is_last_behind = self._through is not _nothing  # perhaps as one that brings ids itself
        self._behind = [self._end] if is_last_behind else []
        if self._is_refused:
            return
        self._is_refused = True
        if self._has_started:
            self._channel.abort()
        else:
            self._channel.answer(refusal.status, refusal_head(refusal, self._request_id), refusal.body())
