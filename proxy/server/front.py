"""The hot path's own connection: requests of one plain shape are served without aiohttp, which would cost as much as all
the rest of them. The first request of any other shape turns the connection over to aiohttp, for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from proxy.server.connection import ChannelEvents, ClientConnection, Connections
from proxy.server.request_head import MAX_HEAD_BYTES, RawHeaders, plain_head
from proxy.wire.refusals import Reason, Refused

_END = b"\r\n\r\n"
_MOST_AHEAD_BYTES = 64 * 1024  # of requests that wait behind the one under way


class HotHandler(Protocol):
    """Serves one path. A head is whatever it makes of raw headers."""

    request_line: bytes

    def read_head(self, headers: RawHeaders) -> Any:
        """None: a request that it would refuse."""

    def knows(self, head: Any) -> bool:
        """Whether the caller is known: a stranger's body is not waited for."""

    def make_room(self, length: int) -> bool:
        """For a body of so many bytes that is still to come; False: there is none. `give_back` follows before anything else."""

    def give_back(self, length: int) -> None: ...

    def begin(self, connection: FrontConnection, head: Any, body: bytes) -> None:
        """Answers, and then calls `connection.answered`."""

    def refuse(self, connection: FrontConnection, refusal: Refused) -> None:
        """Likewise."""


class FrontConnection(asyncio.Protocol):
    """One request at a time; what comes ahead of its turn waits, bounded."""

    __slots__ = (
        "_ahead", "_body_at", "_buffered", "_connections", "_due", "_handler", "_have", "_head", "_head_of", "_holds_back",
        "_idle_since", "_length", "_make_cold", "_paused_at", "_pieces", "_room", "busy", "channel", "transport",
    )  # fmt: skip

    def __init__(
        self, connections: Connections, handler: HotHandler, make_cold: Callable[[], ClientConnection]
    ) -> None:
        self._connections = connections
        self._handler = handler
        self._make_cold = make_cold
        self.transport: asyncio.Transport | None = None
        self.channel: ChannelEvents | None = None
        self.busy = False
        self._ahead = b""
        self._holds_back = False  # nothing more is read until less waits
        # The last head of a plain request, and what the handler made of it
        self._head_of: tuple[bytes, bytes] | None = None
        self._head: Any = None
        # The body under way: -1 while the head is
        self._length = -1
        self._body_at = 0
        self._pieces: list[bytes] = []
        self._have = 0
        self._room = 0  # bytes that the handler keeps free for it
        # The loop's time by which head or body must be whole
        self._due: float | None = None
        self._idle_since: float | None = None
        self._paused_at: float | None = None
        self._buffered = 0

    # ---- what the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        connections = self._connections
        if len(connections.open) >= connections.limits.max_connections:
            self.transport.abort()
            return
        connections.open.add(self)
        self._due = connections.now() + connections.limits.head_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.open.discard(self)
        self.transport = None
        self._give_room_back()
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.lost()

    def data_received(self, data: bytes) -> None:
        if self._length >= 0 and not self.busy:
            self._pieces.append(data)
            self._have += len(data)
            if self._have >= self._length:
                self._body_is_whole()
            return
        self._ahead = self._ahead + data if self._ahead else data
        if not self.busy:
            self._read_head()
        self._bound_ahead()

    def eof_received(self) -> None:
        return None  # closes; `connection_lost` follows

    def pause_writing(self) -> None:
        self._paused_at = self._connections.now()
        self._buffered = self._unsent()
        if self.channel is not None:
            self.channel.paused()

    def resume_writing(self) -> None:
        self._paused_at = None
        if self.channel is not None:
            self.channel.resumed()
        elif not self.busy and self._ahead:
            self._read_head()
            self._bound_ahead()

    def _bound_ahead(self) -> None:
        """Reads on only while little waits: it is copied at every step."""
        holds = len(self._ahead) > _MOST_AHEAD_BYTES
        if holds != self._holds_back and self.transport is not None:
            self._holds_back = holds
            if holds:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # ---- a request

    def _read_head(self) -> None:
        data = self._ahead
        if self._paused_at is not None:
            return  # the last answer is not taken: no other request until it is
        known = self._head_of
        if known is not None and data.startswith(known[0]):
            start = len(known[0])
            end = data.find(b"\r\n", start, start + 14)
            digits = data[start:end]
            if end > 0 and digits.isdigit() and data.startswith(known[1], end):
                self._head_is_whole(int(digits), end + len(known[1]))
                return
        line = self._handler.request_line
        if not data.startswith(line[: len(data)]):
            self._turn_over()
            return
        end = data.find(_END)
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:
                self._turn_over()
            elif self._due is None:
                self._due = self._connections.now() + self._connections.limits.head_timeout_s
            return
        end += len(_END)
        plain = plain_head(data[:end]) if end <= MAX_HEAD_BYTES else None
        head = None if plain is None else self._handler.read_head(plain.headers)
        if plain is None or head is None:
            self._turn_over()
            return
        self._head_of, self._head = (plain.before, plain.after), head
        self._head_is_whole(plain.length, end)

    def _head_is_whole(self, length: int, at: int) -> None:
        data = self._ahead
        have = len(data) - at
        if have < length:
            handler = self._handler
            most = self._connections.limits.max_body_bytes
            if length > most or not handler.knows(self._head) or not handler.make_room(length):
                self._turn_over()  # aiohttp's way refuses, and reads on for a moment, so that the refusal is seen
                return
            self._room = length
        self._length = length
        self._body_at = at
        self._pieces = [data]
        self._have = have
        self._ahead = b""
        if have >= length:
            self._body_is_whole()
        else:
            self._due = self._connections.now() + self._connections.limits.body_timeout_s

    def _body_is_whole(self) -> None:
        pieces, self._pieces = self._pieces, []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        end = self._body_at + self._length
        body = data[self._body_at : end]
        self._ahead = data[end:] if len(data) > end else b""
        self._length = -1
        self._due = self._idle_since = None
        if self._room:
            self._give_room_back()
        self.busy = True
        self._handler.begin(self, self._head, body)

    def answered(self, *, keep: bool) -> None:
        """The answer to the request under way is written."""
        self.busy = False
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if not keep or self._connections.closes_idle:
            transport.close()
        elif self._ahead:
            # Not from here: answers that are made at once would pile up on the stack.
            self._connections.loop.call_soon(self._next)

    def _next(self) -> None:
        if self._ahead and not self.busy and self.transport is not None and not self.transport.is_closing():
            self._due = self._connections.now() + self._connections.limits.head_timeout_s
            self._read_head()
            self._bound_ahead()

    def _turn_over(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        data, self._ahead = self._ahead, b""
        self._bound_ahead()
        self.transport = None
        self._connections.open.discard(self)
        cold = self._make_cold()
        transport.set_protocol(cold)
        cold.connection_made(transport)
        cold.data_received(data)

    # ---- time

    def look(self, now: float) -> None:
        """Once a second."""
        limits = self._connections.limits
        transport = self.transport
        if transport is None:
            return
        if self._paused_at is not None:
            unsent = self._unsent()
            if unsent < self._buffered:
                self._buffered, self._paused_at = unsent, now
            elif now - self._paused_at > limits.write_timeout_s:
                transport.abort()
        elif self.busy:
            return
        elif self._due is not None:
            if now > self._due:
                self._too_slow()
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > limits.keepalive_timeout_s:
            transport.close()

    def _too_slow(self) -> None:
        assert self.transport is not None
        if self._length < 0:
            self.transport.abort()
            return
        self._pieces, self._length, self._due = [], -1, None
        self._give_room_back()
        self.busy = True
        timeout_s = self._connections.limits.body_timeout_s
        self._handler.refuse(
            self, Refused(Reason.REQUEST_TIMEOUT, f"The request body did not arrive within {timeout_s:g} s.")
        )

    def close_if_idle(self) -> None:
        if not self.busy and self._length < 0 and not self._ahead and self.transport is not None:
            self.transport.close()

    def end(self) -> None:
        """The grace is over."""
        if self.transport is not None:
            self.transport.abort()

    def _give_room_back(self) -> None:
        room, self._room = self._room, 0
        if room:
            self._handler.give_back(room)

    def _unsent(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()
