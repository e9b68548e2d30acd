"""One HTTP/1.1 connection to an upstream: one call at a time, bytes in, sink calls out.

A BufferedProtocol: under uvloop TLS costs 73 us per call with `data_received`, 28-45 with this. All connections read
into the same memory: the loop fills it and hands it over in one step, and the parser copies what it keeps.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.outbound.call import Call
from proxy.outbound.sink import Broken, Headers


class Owner(Protocol):
    """Whoever keeps the connection."""

    def joined(self, connection: Connection) -> None:
        """It is connected (and its certificate verified)."""

    def freed(self, connection: Connection) -> None:
        """Its call is complete and it may carry the next one."""

    def gone(self, connection: Connection) -> None:
        """It is closing or closed. Told once."""


class Connection(asyncio.BufferedProtocol):
    """Parses as strictly as llhttp can: no obs-fold, bare CR or LF, controls, second length, length beside chunks."""

    def __init__(
        self, owner: Owner, sock: socket.socket, buffer: memoryview, *, max_head_bytes: int, max_headers: int
    ) -> None:
        self._owner: Owner | None = owner
        self._sock = sock
        self._buffer = buffer
        self._max_head_bytes = max_head_bytes
        self._max_headers = max_headers
        self._transport: asyncio.Transport | None = None
        self._call: Call | None = None
        # When the pool's ticker first saw it idle; None: in use, or idle for less than a tick.
        self.idle_since: float | None = None
        self._pieces: list[bytes] = []
        self._start_response()
        # httptools binds on_* when it is built: pieces of a body go straight into the list, at the price of C.
        self.on_body = self._pieces.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def _start_response(self) -> None:
        self._headers: Headers = []
        self._status = 0
        self._head_done = False
        self._head_given = False
        self._chunked = False
        self._length_known = False
        self._bad_head = False
        self._done = False
        self._keep_alive = False
        self._excess_from: int | None = None  # a second response begins at this piece: nobody asked for it
        self._mute_left = self._max_head_bytes  # bytes allowed to a head, and between pieces of a body

    # ---- what the pool and the call ask

    def usable(self) -> bool:
        """Whether a request may be written. A line that rested is looked at: its end may lie unread in the kernel.

        A request written into a dead line may have been billed and is never repeated: worth a system call.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if self.idle_since is None:
            return True
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # the end, or a byte that nobody asked for

    def send(self, call: Call) -> None:
        assert self._transport is not None and self._call is None
        self.idle_since = None
        self._start_response()
        self._call = call
        call.carrier = self
        call.bytes_written = True
        call.heard = True
        self._transport.write(call.request)
        call.request = b""  # it may be megabytes, and the answer may take minutes
        if call.paused:
            self._transport.pause_reading()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self) -> None:
        """The call left in the middle: what is still on its way has no reader."""
        self._call = None
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self._leave()
        if self._transport is not None:
            self._transport.close()

    def _leave(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.gone(self)

    # ---- what the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._owner is not None:
            self._owner.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        call = self._call
        if call is None:
            self.abandon()  # a byte while idle, or after the call left
            return
        call.heard = call.answered = True
        fault = self._parse(nbytes)
        if self._head_done and not self._head_given:
            self._head_given = True
            if self._bad_head:
                self._break(call, Broken.MALFORMED)
                return
            call.sink.on_head(self._status, self._headers)
            if call.over:
                return  # cancelled from inside
        if self._pieces:
            body = self._take_pieces()
            if body:
                call.sink.on_body(body)
                if call.over:
                    return
        if self._done:
            self._complete(call, clean=not fault)
        elif fault:
            self._break(call, Broken.MALFORMED)

    def _parse(self, nbytes: int) -> bool:
        """Whether the bytes were not HTTP, or more than a head may have. What was parsed before that still counts."""
        parser = self._parser
        assert parser is not None
        data = self._buffer[:nbytes]
        try:
            if nbytes > self._mute_left and self._in_head():
                parser.feed_data(data[: self._mute_left])
                if self._in_head():
                    return True
                data = data[self._mute_left :]
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return True
        if self._pieces or self._done:
            self._mute_left = self._max_head_bytes
            return False
        # A head, a chunk extension or a trailer that grows without end; the parser itself has no limit.
        self._mute_left -= nbytes
        return self._mute_left < 0

    def _in_head(self) -> bool:
        return not self._head_done

    def _take_pieces(self) -> bytes:
        pieces = self._pieces
        if self._excess_from is not None:
            del pieces[self._excess_from :]
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def eof_received(self) -> None:
        return None  # close the transport; connection_lost follows

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._transport = None
        # The parser holds our methods: cut the cycle, or each connection waits for the garbage collector.
        self._parser = None
        del self.on_body
        call, self._call = self._call, None
        if call is None:
            return
        call.end()
        if exc is None and self._head_given and not self._chunked and not self._length_known:
            call.sink.on_end()  # a body without length or chunks ends with its connection (RFC 9112 section 6.3)
        elif exc is None and self._head_given:
            call.detail = "the connection closed in the middle of the response"
            call.sink.on_broken(Broken.EARLY_CLOSE)
        else:
            call.detail = "the connection was reset" if call.answered else "the connection closed without an answer"
            call.sink.on_broken(Broken.RESET)

    # ---- how a response ends

    def _complete(self, call: Call, *, clean: bool) -> None:
        self._call = None
        call.end()
        transport = self._transport
        # An answer before the whole request was taken (413, 401): the rest of the request is still in the way.
        sent = transport is not None and not transport.is_closing() and transport.get_write_buffer_size() == 0
        if clean and sent and self._keep_alive and self._excess_from is None and self._owner is not None:
            if call.paused:
                self.resume()  # an idle line is watched
            self._owner.freed(self)
        else:
            self.close()
        call.sink.on_end()

    def _break(self, call: Call, reason: Broken) -> None:
        call.end()
        call.detail = "the response is not HTTP/1.1, or its head is too large"
        self.abandon()
        call.sink.on_broken(reason)

    # ---- what the parser says; no sink is called from in here

    def on_message_begin(self) -> None:
        if self._done and self._excess_from is None:
            self._excess_from = len(self._pieces)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer
        name = name.lower()
        if name == b"content-length":
            self._length_known = True
        elif name == b"transfer-encoding":
            # We offer no other coding (no TE), and a coding that we do not see would reach the client undeclared.
            self._bad_head |= self._chunked or value.strip().lower() != b"chunked"
            self._chunked = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._done:
            return
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if self._status < 200:
            # interim (RFC 9110 section 15.2); the answer is still to come
            self._headers = []
            self._chunked = self._length_known = self._bad_head = False
            return
        if len(self._headers) > self._max_headers:
            self._bad_head = True
        self._head_done = True

    def on_message_complete(self) -> None:
        if not self._head_done or self._done:
            return
        assert self._parser is not None
        self._done = True
        self._keep_alive = self._parser.should_keep_alive()
