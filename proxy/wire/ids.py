"""Ids: uuid7 inside, a prefix and 32 hex digits on the wire (`att_0190…`)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

PREFIXES = frozenset(
    ["ws", "user", "key", "mk", "uv", "agent", "req", "att", "conv", "msg", "bud", "lim", "price", "bill", "exp", "rule", "alert",
     "prov", "llm", "route", "aud"]
)
# What a NOT NULL column of a rollup holds where there is no agent, user, …
NIL = UUID(int=0)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def uuid7(unix_ms: int, random: bytes | None = None) -> UUID:
    """A version 7 UUID (RFC 9562 section 5.7) of a moment in Unix milliseconds; `random` is 10 bytes."""
    rand = int.from_bytes(random or os.urandom(10), "big")
    value = (unix_ms & 0xFFFFFFFFFFFF) << 80 | 0x7000 << 64 | (rand >> 68) << 64 | 0x2 << 62 | (rand & 0x3FFFFFFFFFFFFFFF)
    return UUID(int=value)


def unix_ms_of(value: UUID) -> int:
    """The moment inside a uuid7, in Unix milliseconds."""
    return value.int >> 80


def moment_of(value: UUID) -> datetime:
    """The moment inside a uuid7, exact to the millisecond, in UTC."""
    return _EPOCH + timedelta(milliseconds=value.int >> 80)


def to_wire(prefix: str, value: UUID) -> str:
    return f"{prefix}_{value.hex}"


def from_wire(prefix: str, text: str) -> UUID | None:
    """None where the text is not an id of that kind."""
    head, _, digits = text.partition("_")
    if head != prefix or len(digits) != 32:
        return None
    try:
        return UUID(hex=digits)
    except ValueError:
        return None
