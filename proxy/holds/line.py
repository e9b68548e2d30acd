"""One connection to Redis: commands out in order, answers back in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import hiredis

from proxy.holds.away import ErrorReply, StoreAway, Unanswered

Sink = Callable[[Any], None]  # gets the answer, or a StoreAway

_NOTHING = object()  # an incomplete answer; None is an answer
READ_BYTES = 64 * 1024
# Not this server, not now: whoever answers so is left, and the next connection may find another.
_LEAVE = frozenset({"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"})


class Line(asyncio.BufferedProtocol):
    """`load` are the packed SCRIPT LOADs, sent when an EVALSHA finds its script gone.

    A buffered protocol: under uvloop with TLS the other kind costs several times as much per read.
    """

    def __init__(self, *, load: tuple[bytes, ...], max_unsent_bytes: int, on_lost: Callable[[Line, str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._load = load
        self._max_unsent_bytes = max_unsent_bytes
        self._on_lost = on_lost
        self._reader = hiredis.Reader(
            notEnoughData=_NOTHING, replyError=ErrorReply, protocolError=hiredis.ProtocolError
        )
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._reason = ""
        self._contain = _Contain(self._loop)
        self.pending: deque[tuple[Sink, bytes | None]] = deque()
        self.sent = 0  # commands ever; less len(pending) = answered
        self.stuffed = False  # the server does not read what we write

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._transport.set_write_buffer_limits(high=self._max_unsent_bytes)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._reader.feed(self._buffer, 0, nbytes)  # type: ignore[arg-type]  # its stubs forget buffers
            while self._deliver():
                pass
        except hiredis.ProtocolError as error:
            self.drop(f"it does not speak RESP: {error}")

    def pause_writing(self) -> None:
        self.stuffed = True

    def resume_writing(self) -> None:
        self.stuffed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        reason = self._reason or (str(exc) if exc else "the server closed the connection")
        self._on_lost(self, reason)
        self._out.clear()
        lost = Unanswered(f"Redis: {reason}")
        while self.pending:
            with self._contain:
                self.pending.popleft()[0](lost)

    # ours

    def send(self, payload: bytes, sink: Sink, *, retry: bool = True) -> None:
        """Queue a command; those of one tick leave in one write. `retry`: it is an EVALSHA and may find no script."""
        self.sent += 1
        self.pending.append((sink, payload if retry else None))
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(payload)

    def ask(self, payload: bytes) -> asyncio.Future[Any]:
        """`send` for the few who wait one by one: no retry."""
        answer: asyncio.Future[Any] = self._loop.create_future()

        def sink(reply: Any) -> None:
            if answer.done():
                return
            if isinstance(reply, StoreAway):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        self.send(payload, sink, retry=False)
        return answer

    def drop(self, reason: str) -> None:
        """Close at once; what is unanswered fails."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once what was queued has been written."""
        self._reason = self._reason or "closed here"
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _deliver(self) -> bool:
        """Answers to their sinks. True where a sink failed: there may be more."""
        gets, pending = self._reader.gets, self.pending
        with self._contain:
            while (reply := gets()) is not _NOTHING:
                if not pending:
                    self.drop("an answer that nobody asked for")
                    return False
                sink, payload = pending.popleft()
                if reply.__class__ is ErrorReply:
                    code = reply.code
                    if code == "NOSCRIPT" and payload is not None:
                        self._load_and_repeat(payload, sink)
                        continue
                    if code in _LEAVE:
                        self.drop(str(reply))
                sink(reply)
            return False
        return True

    def _load_and_repeat(self, payload: bytes, sink: Sink) -> None:
        """Behind the loads in the same pipeline, once: a script that is gone again by then is an error."""
        for load in self._load:
            self.send(load, _ignore, retry=False)
        self.send(payload, sink, retry=False)


def _ignore(reply: Any) -> None:
    """If a script cannot be loaded, the call behind it says so."""


class _Contain:
    """An error in one sink is reported as the loop reports its own, and costs the others nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, hiredis.ProtocolError):
            return False
        self._loop.call_exception_handler({"message": "a sink of the Redis line failed", "exception": error})
        return True
