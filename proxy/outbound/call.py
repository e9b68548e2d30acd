"""One request on its way: the caller's handle, and what the ticker asks about."""

from __future__ import annotations

from typing import Protocol

from proxy.outbound.sink import Broken, Sink


class Carrier(Protocol):
    """The connection that a call is on."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abandon(self) -> None: ...


class Keeper(Protocol):
    """Whoever keeps track of running calls."""

    def forget(self, call: Call) -> None: ...


class Call:
    """Implements `UpstreamCall`. It is over after its last word to the sink, or after `cancel`."""

    __slots__ = (
        "_since",
        "answered",
        "bytes_written",
        "carrier",
        "connect_timeout_s",
        "detail",
        "first_byte_timeout_s",
        "heard",
        "idle_timeout_s",
        "keeper",
        "over",
        "paused",
        "request",
        "sink",
    )

    def __init__(
        self,
        keeper: Keeper,
        request: bytes,
        sink: Sink,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self.keeper = keeper
        self.request = request
        self.sink = sink
        self.connect_timeout_s = connect_timeout_s
        self.first_byte_timeout_s = first_byte_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.carrier: Carrier | None = None
        self.bytes_written = False
        self.answered = False  # a byte of the response was seen
        self.paused = False
        self.over = False
        self.detail = ""
        # Set wherever something moved, cleared by the ticker: cheaper than the time at every read, a tick late at most
        self.heard = True
        self._since = 0.0

    def pause(self) -> None:
        self.paused = True
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.heard = True
            if self.carrier is not None:
                self.carrier.resume()

    def cancel(self) -> None:
        if self.over:
            return
        carrier = self.end()
        if carrier is not None:
            carrier.abandon()

    def end(self) -> Carrier | None:
        """Takes the call out of everything; its sink hears at most the one word that the caller of this says next."""
        carrier, self.carrier = self.carrier, None
        self.over = True
        self.request = b""
        self.keeper.forget(self)
        return carrier

    def overdue(self, now: float) -> Broken | None:
        """Silence counts only while we listen: a paused call waits for its client, whose own limits the relay keeps."""
        if self.heard or self.paused:
            self.heard = False
            self._since = now
            return None
        silent_s = now - self._since
        if not self.bytes_written:
            return Broken.TIMEOUT_CONNECT if silent_s > self.connect_timeout_s else None
        if not self.answered:
            return Broken.TIMEOUT_FIRST_BYTE if silent_s > self.first_byte_timeout_s else None
        return Broken.TIMEOUT_IDLE if silent_s > self.idle_timeout_s else None
