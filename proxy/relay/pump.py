"""From an upstream's callbacks to a client's transport.

A stream is written as its frames come, up to [DONE]. Everything else is held whole, so that headers can still be added
and another route tried; beyond a bound it passes unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from proxy.identity.principal import ClientLeaves
from proxy.outbound.response_headers import is_encoded, value_of
from proxy.outbound.sink import Broken, Headers, Sink, UpstreamCall
from proxy.outbound.ticker import Ticker
from proxy.relay.client_channel import ClientChannel
from proxy.relay.leaving import Drains, reads_on
from proxy.relay.meter import Meter
from proxy.relay.stream_end import (
    TAIL_BYTES,
    Answered,
    ClientLeft,
    Drained,
    EndedWithoutDone,
    Finished,
    PassedUnread,
    Progress,
    StreamEnd,
    UpstreamBroke,
)

# Starts an upstream call with the pump as its sink: a pool's, or echo's.
StartCall: TypeAlias = Callable[[Sink], UpstreamCall]
# The header lines that the client gets, from the provider's.
Begin: TypeAlias = Callable[[Headers], bytes]


@dataclass(frozen=True, slots=True)
class PumpPolicy:
    """`drain_frames` stands for tokens; a model that may think unseen has `hidden_times` both bounds. `late_usage_s`: how long
    usage may come behind [DONE]; `linger_s`: how long a provider may take to end its response after it.
    """

    max_body_bytes: int = 16 * 1024 * 1024
    drain_s: float = 15.0
    drain_frames: int = 2000
    hidden_times: int = 4
    drains: Drains = field(default_factory=lambda: Drains(500))
    write_timeout_s: float = 30.0
    late_usage_s: float = 1.0
    linger_s: float = 5.0


# RFC 9110: no content follows these heads, so no error event can either
_WITHOUT_CONTENT = (204, 205)


class _Mode(Enum):
    HEAD = 0  # waiting for it
    STREAM = 1
    HOLD = 2
    UNREAD = 3
    DONE = 4  # said, but no usage yet: it may come behind it
    OVER = 5  # the end was told; the upstream may still be finishing its response


class Pump:
    """One attempt: `start` once, and `ended` is called once. Sink of its call, listener of its channel.

    `stream`: the client asked for one. `leaves`: what becomes of the answer if the client does. `make_meter` is asked once a
    stream begins. Nothing is called from inside `start` but `ended`, for a client that is gone already.
    """

    __slots__ = (
        "_begin", "_call", "_channel", "_done_at", "_drain_times", "_draining", "_ended", "_held", "_held_bytes", "_leaves",
        "_left", "_left_at", "_level", "_level_at", "_linger_until", "_loop", "_make_meter", "_meter", "_mode", "_paused",
        "_policy", "_released", "_stream", "_tail", "_ticker", "progress",
    )  # fmt: skip

    def __init__(
        self, channel: ClientChannel, make_meter: Callable[[], Meter], policy: PumpPolicy, begin: Begin, stream: bool,
        ticker: Ticker, loop: asyncio.AbstractEventLoop, ended: Callable[[StreamEnd], None],
        leaves: ClientLeaves = "auto",
    ) -> None:  # fmt: skip
        self._channel = channel
        self._make_meter = make_meter
        self._meter: Meter | None = None
        self._policy = policy
        self._begin = begin
        self._stream = stream
        self._ticker = ticker
        self._ended = ended
        self._loop = loop
        self._call: UpstreamCall | None = None
        self._mode = _Mode.HEAD
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._leaves = leaves
        self._left = False
        self._draining = False
        self._released = False
        self._paused = False
        self.progress = Progress()

    def start(self, start_call: StartCall) -> None:
        channel = self._channel
        if channel.gone:
            self._end(ClientLeft(self.progress, Drained.NOT_DISPATCHED))
            return
        self._call = start_call(self)
        channel.set_listener(self._client_left, self._client_pauses, self._client_resumes)
        self._ticker.watch(self)

    def cancel(self) -> None:
        """Ends the upstream's call; `ended` is not called any more."""
        self._mode = _Mode.OVER
        self._end_drain()
        self._drop_call()

    # ---- the upstream's side

    def on_head(self, status: int, headers: Headers) -> None:
        progress = self.progress
        progress.status, progress.headers, progress.head_at = status, headers, self._loop.time()
        kind = (value_of(headers, b"content-type") or b"").lower()
        events = kind.startswith(b"text/event-stream")
        # Some OpenAI-shaped servers stream without saying so; a JSON answer to a stream request is a whole answer.
        streams = events or (self._stream and not kind.startswith(b"application/json"))
        if 200 <= status < 300 and status not in _WITHOUT_CONTENT and streams:
            if is_encoded(headers):
                self._mode = _Mode.UNREAD
                self._tail = b""
            else:
                self._mode = _Mode.STREAM
                self._meter = self._make_meter()
                progress.framed = True
            # At once: a client must not wait for the first whole frame to learn that its answer has begun.
            self._send_head(length=None)
        else:
            self._mode = _Mode.HOLD

    def on_body(self, chunk: bytes) -> None:
        if self.progress.first_piece_at is None:
            self.progress.first_piece_at = self._loop.time()
        meter = self._meter
        if self._mode is _Mode.STREAM:
            assert meter is not None
            forward, done = meter.feed(chunk)
            if forward and not self._left:
                self._write(forward)
            if done:
                if meter.reported:
                    self._end_stream()
                else:
                    self._mode = _Mode.DONE
                    self._done_at = self._loop.time()
            elif self._left and meter.frames > self._drain_times * self._policy.drain_frames:
                self._bound_reached()
        elif self._mode is _Mode.HOLD:
            self._hold(chunk)
        elif self._mode is _Mode.UNREAD:
            self._pass_unread(chunk)
        elif self._mode is _Mode.DONE:
            assert meter is not None
            meter.feed(chunk)
            if meter.reported:
                self._end_stream()
        elif not self._released and meter is not None:
            meter.feed(chunk)  # behind [DONE]: the provider's bytes are the client's bytes

    def on_end(self) -> None:
        call, self._call = self._call, None
        if self._mode is _Mode.OVER:
            self._ticker.unwatch(self)
            return
        self.progress.dispatched = call is not None and call.bytes_written
        if self._mode is _Mode.DONE:
            self._end_stream()
        elif self._left:
            body = b"".join(self._held) if self._mode is _Mode.HOLD else None
            tail = self._tail if self._mode is _Mode.UNREAD else None
            self._end(ClientLeft(self.progress, Drained.ENDED, body, tail))
        elif self._mode is _Mode.HOLD:
            self._end(Answered(self.progress, b"".join(self._held)))
        elif self._mode is _Mode.UNREAD:
            self._end(PassedUnread(self.progress, self._release_unread, self._tail))
        else:
            self._end(EndedWithoutDone(self.progress, self._release_frames))

    def on_broken(self, reason: Broken) -> None:
        call, self._call = self._call, None
        if self._mode is _Mode.OVER:
            self._ticker.unwatch(self)
            return
        self.progress.dispatched = call is not None and call.bytes_written
        if self._mode is _Mode.DONE:
            self._end_stream()  # all of the answer was there
        elif self._left:
            self._end(ClientLeft(self.progress, Drained.BROKE))
        else:
            self._end(UpstreamBroke(self.progress, reason, call.detail if call is not None else ""))

    def _hold(self, chunk: bytes) -> None:
        self._held.append(chunk)
        self._held_bytes += len(chunk)
        if self._held_bytes <= self._policy.max_body_bytes:
            return
        if self._left:
            # Nobody is there to get it: read on for the usage at its end.
            self._tail = b"".join(self._held)[-TAIL_BYTES:]
            self._held, self._held_bytes, self._mode = [], 0, _Mode.UNREAD
            return
        if not 200 <= (self.progress.status or 0) < 300:
            # Nothing of an error passes unread: it may name our account.
            self.progress.oversized = True
            self._held = []
            self._drop_call()
            self._end(Answered(self.progress, b""))
            return
        held, self._held, self._held_bytes = self._held, [], 0
        self._mode = _Mode.UNREAD
        self._tail = b""
        length = value_of(self.progress.headers, b"content-length")
        self._send_head(length=None if length is None else int(length))
        for piece in held:
            self._pass_unread(piece)

    def _pass_unread(self, chunk: bytes) -> None:
        """The newest piece waits, so that the end of the body is the settlement's to release."""
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        if self._left:
            return
        for piece in self._held:
            self._write(piece)
        self._held = [chunk]

    # ---- the client's side

    def _send_head(self, *, length: int | None) -> None:
        if self._left:
            return
        status = self.progress.status
        assert status is not None
        self._channel.start(status, self._begin(self.progress.headers), length=length, events=self.progress.framed)
        self.progress.head_sent = True

    def _write(self, data: bytes) -> None:
        self._channel.write(data)
        self.progress.sent_bytes += len(data)

    def _client_pauses(self) -> None:
        self._paused = True
        self._level = 0
        self._level_at: float | None = None
        if self._call is not None and not self._left and self._mode is not _Mode.OVER:
            self._call.pause()

    def _client_resumes(self) -> None:
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def _client_left(self) -> None:
        call = self._call
        if self._left or self._mode is _Mode.OVER or call is None:
            return
        self._left = True
        if not call.bytes_written:
            self._drop_call()
            self._end(ClientLeft(self.progress, Drained.NOT_DISPATCHED))
        elif self._mode is _Mode.DONE:
            self._end_stream()
        elif reads_on(self._leaves, self._meter) and self._policy.drains.begin():
            self._draining = True
            self._drain_times = 1
            self._left_at = self._loop.time()
            if self._meter is not None:
                self._meter.counting = True
            call.resume()  # or a drain for usage would wait for a reader who is gone
        else:
            self._cut()

    def _bound_reached(self) -> None:
        """Of draining. What cannot be seen cannot be counted either: it is worth a longer wait, once."""
        if self._drain_times == 1 and (self._meter is None or self._meter.hides):
            self._drain_times = self._policy.hidden_times
        else:
            self._cut()

    def _cut(self) -> None:
        self.progress.dispatched = True
        self._drop_call()
        self._end(ClientLeft(self.progress, Drained.CUT))

    # ---- time

    def tick(self, now: float) -> None:
        if self._mode is _Mode.OVER:
            if now > self._linger_until:
                self._drop_call()
        elif self._mode is _Mode.DONE:
            if now > self._done_at + self._policy.late_usage_s:
                self._end_stream()
        elif self._left:
            if now > self._left_at + self._drain_times * self._policy.drain_s:
                self._bound_reached()
        elif self._paused:
            level = self._channel.buffered()
            if self._level_at is None or level < self._level:
                self._level = level
                self._level_at = now
            elif now - self._level_at > self._policy.write_timeout_s:
                self._channel.abort()
                self._client_left()

    # ---- the end

    def _end_stream(self) -> None:
        self._end(
            ClientLeft(self.progress, Drained.ENDED) if self._left else Finished(self.progress, self._release_frames)
        )

    def _end(self, end: StreamEnd) -> None:
        self._mode = _Mode.OVER
        self._end_drain()
        call = self._call
        if call is None:
            self._ticker.unwatch(self)
        else:
            self.progress.dispatched = call.bytes_written
            # The response is whole, its connection not yet free.
            self._linger_until = self._loop.time() + self._policy.linger_s
            call.resume()
        ended = self._ended
        del self._ended, self._begin, self._make_meter  # or whoever listens and this would hold each other
        ended(end)

    def _end_drain(self) -> None:
        if self._draining:
            self._draining = False
            self._policy.drains.end()

    def _drop_call(self) -> None:
        self._ticker.unwatch(self)
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _release_frames(self) -> None:
        if not self._released:
            self._released = True
            assert self._meter is not None
            self._finish(self._meter.finish())

    def _release_unread(self) -> None:
        if not self._released:
            self._released = True
            held, self._held = self._held, []
            self._finish(b"".join(held))

    def _finish(self, last: bytes) -> None:
        self.progress.sent_bytes += len(last)
        self._channel.finish(last)
