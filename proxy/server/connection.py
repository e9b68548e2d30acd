"""One client connection: aiohttp's handler with the guards that its defaults lack.

aiohttp (3.14) waits for ever for the rest of a request head, answers a malformed head by echoing it, and logs it. A head
must be complete within `head_timeout_s`; the answer to a malformed one says nothing of what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from aiohttp import web

from proxy.wire.ids import to_wire, uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)
JSON_HEADERS = {"Content-Type": "application/json", "Cache-Control": "private, no-store", "Server": "synapscale"}


@dataclass(slots=True)
class Limits:
    """What a client may take. Times in seconds."""

    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    keepalive_timeout_s: float = 75.0
    max_body_bytes: int = 32 * 1024 * 1024
    max_bodies_bytes: int = 256 * 1024 * 1024
    max_connections: int = 10_000
    max_in_flight: int = 2_000


class Looked(Protocol):
    """An open connection."""

    def look(self, now: float) -> None:
        """Once a second: is it too slow?"""

    def close_if_idle(self) -> None:
        """Unless a request is under way on it, or on its way in."""


class Connections:
    """The open connections of one gateway. Made and used on its loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.open: set[Looked] = set()
        self.draining = False  # answers say that their connection will be closed
        self.closes_idle = False

    def close_idle(self) -> None:
        self.closes_idle = True
        for connection in list(self.open):
            connection.close_if_idle()

    def tick(self, now: float) -> None:
        for connection in list(self.open):
            connection.look(now)


class ClientConnection(web.RequestHandler):
    """`channel` is the hot answer under way on this connection, told when the client pauses, resumes or leaves."""

    __slots__ = ("buffered", "channel", "connections", "head_due", "in_request", "paused_at")

    def __init__(
        self, manager: web.Server, connections: Connections, *, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self.connections = connections
        self.channel: ChannelEvents | None = None
        self.in_request = False
        self.head_due: float | None = None
        self.paused_at: float | None = None  # the reader took nothing since
        self.buffered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connections = self.connections
        if len(connections.open) >= connections.limits.max_connections:
            self.force_close()
            return
        connections.open.add(self)
        self.head_due = self._loop.time() + connections.limits.head_timeout_s

    def connection_lost(self, exc: BaseException | None) -> None:
        self.connections.open.discard(self)
        self.head_due = self.paused_at = None
        super().connection_lost(exc)
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.lost()

    def data_received(self, data: bytes) -> None:
        if not self.in_request and self.head_due is None:
            self.head_due = self._loop.time() + self.connections.limits.head_timeout_s
        super().data_received(data)

    def request_begins(self) -> None:
        """A whole head was parsed and its handler starts."""
        self.in_request = True
        self.head_due = None

    def request_ends(self) -> None:
        self.in_request = False
        self.head_due = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.paused_at = self._loop.time()
        self.buffered = self._buffered()
        if self.channel is not None:
            self.channel.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.paused_at = None
        if self.channel is not None:
            self.channel.resumed()

    def look(self, now: float) -> None:
        if self.head_due is not None and now > self.head_due:
            self.force_close()
        elif self.paused_at is not None:
            self._look_at_reader(now)

    def close_if_idle(self) -> None:
        # aiohttp waits for the next head, and no byte of it has come.
        if self._waiter is not None and self.head_due is None:
            self.force_close()

    def _look_at_reader(self, now: float) -> None:
        """A client that took nothing for `write_timeout_s` is treated as gone; one that takes a little is slow."""
        buffered = self._buffered()
        if buffered < self.buffered or self.paused_at is None:
            self.buffered, self.paused_at = buffered, now
        elif (
            now - self.paused_at > self.connections.limits.write_timeout_s and (transport := writing(self)) is not None
        ):
            transport.abort()

    def _buffered(self) -> int:
        transport = writing(self)
        return 0 if transport is None else transport.get_write_buffer_size()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A malformed head, or a bug in a handler: OpenAI's error shape, nothing echoed, the connection closed."""
        if status < 500:
            refusal = Refused(
                Reason.BAD_HTTP,
                "The request is not valid HTTP/1.1. Check the request line, the headers and the body framing.",
            )
        else:
            if self.transport is not None or not isinstance(exc, ConnectionResetError):  # else only the client has left
                log.error("a handler failed", exc_info=exc)
            refusal = Refused(
                Reason.BUG,
                "Internal error. Nothing was changed; please try again, and report the request id if it stays.",
            )
        headers = {**JSON_HEADERS, "x-request-id": to_wire("req", uuid7(int(time.time() * 1000)))}
        response = web.Response(status=refusal.status, body=refusal.body(), headers=headers)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """aiohttp would print the head of a malformed request here, keys included."""


def writing(connection: HasTransport) -> asyncio.WriteTransport | None:
    """Its transport; None once it is lost. (uvloop's transports are no subclasses: only their methods are the same.)"""
    return cast("asyncio.WriteTransport | None", connection.transport)


class HasTransport(Protocol):
    @property
    def transport(self) -> asyncio.BaseTransport | None: ...


class Answering(HasTransport, Protocol):
    """A connection, as the answer under way on it knows it."""

    channel: ChannelEvents | None


class ChannelEvents:
    """What a connection tells the answer under way on it."""

    __slots__ = ()

    def lost(self) -> None: ...

    def paused(self) -> None: ...

    def resumed(self) -> None: ...


ConnectionFactory = Callable[[], ClientConnection]
