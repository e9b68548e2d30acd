"""A line of the spool: `<crc32, 8 hex> <shard> <attempt, 32 hex> <event JSON>\\n`. Pure.

The CRC is of all that follows the first space. In place of an event, `void` asks that an attempt be taken back of which
nothing was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

VOID = b"void"


class Record(NamedTuple):
    shard: int
    attempt_id: UUID
    event: bytes  # or VOID


class Damaged(NamedTuple):
    """A line that was never finished (at the end: the process died in its write) or was changed afterwards."""

    line: bytes


def encode(shard: int, attempt_id: UUID, event: bytes) -> bytes:
    if b"\n" in event:
        raise ValueError("an event is one line of JSON")
    body = b"%d %032x %b" % (shard, attempt_id.int, event)
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Record | Damaged:
    """`line` without its newline."""
    crc, _, body = line.partition(b" ")
    parts = body.split(b" ", 2)
    try:
        if len(parts) == 3 and len(crc) == 8 and int(crc, 16) == crc32(body):
            return Record(int(parts[0]), UUID(hex=parts[1].decode()), parts[2])
    except ValueError:
        pass
    return Damaged(line)


def decode_all(data: bytes) -> Iterator[Record | Damaged]:
    """Of whole lines; what follows the last newline is damaged."""
    *lines, rest = data.split(b"\n")
    for line in lines:
        yield decode(line)
    if rest:
        yield Damaged(rest)
