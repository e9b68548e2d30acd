"""What the scripted upstream does with a connection, step by step, and the usual answers built from steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Send:
    """`piece`: bytes per write, each in a turn of the loop of its own. `tokens`: what the account counts with it."""

    data: bytes
    piece: int | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Until the test sets the event."""

    until: asyncio.Event


@dataclass(frozen=True, slots=True)
class Flood:
    """`block` again and again until `total` bytes are written, as fast as the reader takes them."""

    block: bytes
    total: int


@dataclass(frozen=True, slots=True)
class Close:
    """Closes in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Tears the line (RST)."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing more; the line stays open until the other side leaves."""


Step: TypeAlias = Send | Wait | Hold | Flood | Close | Reset | Silence


@dataclass(slots=True)
class Script:
    """The answer to one request. The tokens are what this upstream would bill for it, were it all delivered."""

    steps: list[Step]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    label: str = field(default="", kw_only=True)


def raw(*parts: bytes | Step, piece: int | None = None) -> Script:
    """Bytes as they are, mixed with steps."""
    return Script([Send(part, piece) if isinstance(part, bytes) else part for part in parts])


def head(status: int, headers: Headers, *, version: str = "1.1") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/{version} {status} Scripted\r\n{lines}\r\n".encode("latin-1")


def whole(
    body: bytes,
    *,
    status: int = 200,
    headers: Headers = (("content-type", "application/json"),),
    piece: int | None = None,
) -> Script:
    """A body with its length."""
    return Script([Send(head(status, [*headers, ("content-length", str(len(body)))]) + body, piece)])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
EVENT_STREAM: Headers = (("content-type", "text/event-stream; charset=utf-8"),)


def chunked(
    parts: Iterable[bytes],
    *,
    status: int = 200,
    headers: Headers = EVENT_STREAM,
    piece: int | None = None,
    gap_s: float = 0.0,
    tail: Sequence[Step] = (Send(LAST_CHUNK),),
) -> Script:
    """A chunk per part, in one write or `gap_s` apart. `tail` replaces the last chunk, to break off."""
    opening = head(status, [*headers, ("transfer-encoding", "chunked")])
    if not gap_s:
        return Script([Send(opening + b"".join(map(chunk, parts)), piece), *_pieced(tail, piece)])
    steps: list[Step] = [Send(opening, piece)]
    for part in parts:
        steps += [Send(chunk(part), piece), Wait(gap_s)]
    return Script([*steps, *_pieced(tail, piece)])


def _pieced(steps: Sequence[Step], piece: int | None) -> list[Step]:
    return [Send(step.data, piece, step.tokens) if isinstance(step, Send) else step for step in steps]


def until_close(
    parts: Iterable[bytes], *, status: int = 200, headers: Headers = EVENT_STREAM, version: str = "1.1"
) -> Script:
    """A body that ends with its connection."""
    return Script([Send(head(status, headers, version=version) + b"".join(parts)), Close()])
