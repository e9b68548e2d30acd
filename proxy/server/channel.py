"""The client's end of an answer, written straight to its transport (no wake-up, no task per chunk).

aiohttp's response classes cost 36 µs a request on this path; here a head and the first bytes leave in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.server.connection import Answering, ChannelEvents, writing

_REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request", 401: "Unauthorized",
    402: "Payment Required", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 409: "Conflict", 413: "Content Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}


def _nothing() -> None:
    return None


class HttpChannel(ChannelEvents):
    """One answer. `length` None: chunked for HTTP/1.1, until close for HTTP/1.0."""

    __slots__ = (
        "_chunked", "_connection", "_event_stream", "_finished", "_head", "_loop", "_on_gone", "_on_pause", "_on_resume",
        "_transport", "also", "gone", "http11", "keep_alive", "started", "status",
    )  # fmt: skip

    def __init__(self, connection: Answering, *, http11: bool, keep_alive: bool) -> None:
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
        self.also = b""  # more lines of a head
        connection.channel = self

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        self._on_gone, self._on_pause, self._on_resume = on_gone, on_pause, on_resume

    def start(self, status: int, head: bytes, *, length: int | None, events: bool = False) -> None:
        """Keeps the head for the first bytes to join; it leaves alone if none come in this turn of the loop."""
        self._head = self._begin(status, head, length)
        self._event_stream = events
        self._loop.call_soon(self._flush_head)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """A whole answer, in one write."""
        if self._finished or self.gone:
            self.status = self.status or status
            return
        self._finished = True
        self._send(self._begin(status, head, len(body)) + body)
        self.close_listener()

    def _begin(self, status: int, head: bytes, length: int | None) -> bytes:
        self.started = True
        self.status = status
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif self.http11:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False
            framing = b""
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        elif not self.http11:
            framing += b"connection: keep-alive\r\n"
        return b"%b%b%b%b\r\n" % (line, head, self.also, framing)

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

    def cut(self, status: int, head: bytes, body: bytes, event: bytes) -> None:
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
            self.answer(status, head, body)
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
