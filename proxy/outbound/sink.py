"""What a caller and an upstream say to each other: bytes are pushed, one end is told, the flow can be held."""

from __future__ import annotations

from enum import Enum
from typing import Protocol, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Broken(Enum):
    """Why a call has no complete response."""

    UNREACHABLE = "unreachable"  # name, route or handshake failed
    UNTRUSTED = "untrusted"  # the certificate was not accepted
    FORBIDDEN = "forbidden"  # every address was vetoed
    OVERLOADED = "overloaded"  # our own bound of connections and waiting calls
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_BYTE = "timeout_first_byte"
    TIMEOUT_IDLE = "timeout_idle"
    RESET = "reset"  # the line died before the response began, or with an error inside it
    EARLY_CLOSE = "early_close"  # closed in order, but before the response was complete
    MALFORMED = "malformed"  # not HTTP/1.1, or more head than we read


class Sink(Protocol):
    """Fed by an upstream: `on_head` once, then bodies, then one of `on_end` and `on_broken`, and nothing after it.

    `on_broken` may come at any point. No method is called from inside the function that started the call.
    Header names are lower case.
    """

    def on_head(self, status: int, headers: Headers) -> None: ...
    def on_body(self, chunk: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_broken(self, reason: Broken) -> None: ...


class UpstreamCall(Protocol):
    """A running call. After `cancel` the sink hears nothing more. All methods may be called at any time, even late."""

    @property
    def bytes_written(self) -> bool:
        """Whether the provider may have seen (and bill) the request."""

    @property
    def detail(self) -> str:
        """A few words for people about `Broken`; no secret, may be empty."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self) -> None: ...
