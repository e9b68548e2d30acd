"""Commands in RESP. Heads are counted by code: a wrong `*N` would stall the line for everybody on it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from proxy.holds.lua import Script

Word = bytes | str | int


def word(value: Word) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def pack(*words: Word) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(word, words)))


def pack_script(script: Script, keys: Sequence[Word], args: Sequence[Word]) -> bytes:
    return pack(b"EVALSHA", script.sha, len(keys), *keys, *args)


def open_call(script: Script, keys: Sequence[Word], *, more_keys: int = 0, more_args: int) -> bytes:
    """The beginning of a call up to and including the keys given; `more_keys` and `more_args` words follow."""
    words: list[Word] = [b"EVALSHA", script.sha, len(keys) + more_keys, *keys]
    return b"*%d\r\n%b" % (len(words) + more_keys + more_args, b"".join(map(word, words)))


def hex_of(value: UUID) -> bytes:
    return b"%032x" % value.int
