"""How a pump ends: exactly one of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from proxy.outbound.sink import Broken, Headers

# What is kept of a body that passes unread, or that is too large to hold: providers put usage last.
TAIL_BYTES = 64 * 1024


@dataclass(slots=True)
class Progress:
    """How far an attempt came. Times are the loop's monotonic clock, in seconds."""

    status: int | None = None  # of the provider; None: no head came
    headers: Headers = field(default_factory=list)
    head_at: float | None = None
    first_piece_at: float | None = None  # of the body, as it came from the provider
    head_sent: bool = False  # the client has a status line: from here on an error is an event in the stream
    framed: bool = False  # whole SSE frames pass: an error event may follow; else only a cut connection is honest
    oversized: bool = False  # an error's body was larger than is held: the rest was not read
    sent_bytes: int = 0  # of the body, to the client
    dispatched: bool = False  # the provider may have seen (and bill) the request


@dataclass(slots=True)
class Answered:
    """A whole body, of which nothing was sent: any error status, and every success that is not a stream."""

    progress: Progress
    body: bytes


@dataclass(slots=True)
class Finished:
    """A stream to its [DONE]; all is sent but what `release` sends, and the end."""

    progress: Progress
    release: Callable[[], None]


@dataclass(slots=True)
class EndedWithoutDone:
    """The response ended in order, the stream in it did not say so. Whether that is an end is the meter's to know.

    `release` sends what is left and ends the answer. Where it is no end, an error event goes out instead.
    """

    progress: Progress
    release: Callable[[], None]


@dataclass(slots=True)
class PassedUnread:
    """A body too large to hold, or compressed unasked: passed on as it came; nothing was metered but its `tail`.

    `release` sends the last bytes and the end.
    """

    progress: Progress
    release: Callable[[], None]
    tail: bytes


class Drained(Enum):
    """What became of the provider's answer after the client had left."""

    NOT_DISPATCHED = "not_dispatched"  # nothing was written: nothing can be billed
    ENDED = "ended"  # read to its end
    BROKE = "broke"
    CUT = "cut"  # not read on, or only to the bounds of draining


@dataclass(slots=True)
class ClientLeft:
    """`body`: the whole answer where it was not a stream and was drained to its end."""

    progress: Progress
    drained: Drained
    body: bytes | None = None
    tail: bytes | None = None  # likewise, of one too large to hold


@dataclass(slots=True)
class UpstreamBroke:
    """With `progress.head_sent` the client has part of an answer, of whole frames only: an error event must follow."""

    progress: Progress
    reason: Broken
    detail: str


StreamEnd: TypeAlias = Answered | Finished | EndedWithoutDone | PassedUnread | ClientLeft | UpstreamBroke
