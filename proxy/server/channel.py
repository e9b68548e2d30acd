"""The client's end of an answer, written straight to its transport (no wake-up, no task per chunk).

aiohttp's response classes cost 36 µs a request on this path; here a head and the first bytes leave in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from proxy.server.connection import ChannelEvents, ClientConnection, writing

_REASONS = {
    200: b"OK", 201: b"Created", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required",
    403: b"Forbidden", 404: b"Not Found", 408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large",
    415: b"Unsupported Media Type", 422: b"Unprocessable Content", 429: b"Too Many Requests", 500: b"Internal Server Error",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip


def _nothing() -> None:
    return None


def _is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    """Where an event can be added: whole frames of text, not compressed."""
    found = dict(headers)
    return found.get(b"content-type", b"").lower().startswith(b"text/event-stream") and b"content-encoding" not in found


class HttpChannel(ChannelEvents):
    """One answer. `length` None: chunked for HTTP/1.1, until close for HTTP/1.0."""

    __slots__ = (
        "_chunked", "_connection", "_event_stream", "_finished", "_head", "_loop", "_on_gone", "_on_pause", "_on_resume",
        "_transport", "gone", "http11", "keep_alive", "started", "status",
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, *, http11: bool, keep_alive: bool) -> None:
        transport = writing(connection)
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._head: bytes | None = None
        self._chunked = False
        self._event_stream = False
        self._finished = False
        self._on_gone: Callable[[], None] = _nothing
        self._on_pause: Callable[[], None] = _nothing
        self._on_resume: Callable[[], None] = _nothing
        self.gone = transport is None or transport.is_closing()
        self.started = False
        self.status = 0
        self.http11 = http11
        self.keep_alive = keep_alive
        connection.channel = self

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        self._on_gone, self._on_pause, self._on_resume = on_gone, on_pause, on_resume

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], *, length: int | None) -> None:
        """Keeps the head for the first bytes to join; it leaves alone if none come in this turn of the loop."""
        self.started = True
        self.status = status
        headers = list(headers)
        self._event_stream = length is None and _is_event_stream(headers)
        lines = [b"HTTP/1.1 %d %s\r\n" % (status, _REASONS.get(status, b"Status"))]
        lines += [b"%s: %s\r\n" % pair for pair in headers]
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif self.http11:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif not self.http11:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)
        self._loop.call_soon(self._flush_head)

    def _flush_head(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._send(head)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        head, self._head = self._head, None
        self._send(data if head is None else head + data)

    def finish(self, last: bytes = b"") -> None:
        """The last bytes and the end of the answer, in one write."""
        if self._finished or self.gone:
            return
        self._finished = True
        if self._chunked:
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n"
        head, self._head = self._head, None
        self._send(last if head is None else head + last)
        self.close_listener()

    def cut(self, status: int, head: Iterable[tuple[bytes, bytes]], body: bytes, event: bytes) -> None:
        """Ends the answer from our side: with a refusal if none began, else with an error event. Then the client is gone."""
        if self._finished or self.gone:
            return
        on_gone = self._on_gone
        if self.started and self._event_stream:
            self.finish(event)
        elif self.started:
            self._finished = True
            self.abort()
        else:
            self.start(status, head, length=len(body))
            self.finish(body)
        self.gone = True
        on_gone()

    def buffered(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cuts the connection: the only honest end once a head with a length is out and the body cannot follow."""
        self.keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    def close_listener(self) -> None:
        self._on_gone = self._on_pause = self._on_resume = _nothing
        if self._connection.channel is self:
            self._connection.channel = None

    def _send(self, data: bytes) -> None:
        if data and not self.gone and self._transport is not None:
            self._transport.write(data)

    # what the connection tells

    def lost(self) -> None:
        self.gone = True
        self._on_gone()

    def paused(self) -> None:
        self._on_pause()

    def resumed(self) -> None:
        self._on_resume()
