"""Heads of the hot path's requests: those of the one plain shape, by llhttp as strictly as it can; a head that differs from
the last one in its length alone is not parsed again.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

RawHeaders = list[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})(?=[ \t]*\r\n)", re.IGNORECASE)
_NOT_PLAIN = frozenset([b"transfer-encoding", b"expect", b"upgrade", b"trailer"])


class PlainHead(NamedTuple):
    """`before` and `after`: the head around the digits of its content-length."""

    headers: RawHeaders
    before: bytes
    after: bytes
    length: int


class _Collector:
    def __init__(self) -> None:
        self.headers: RawHeaders = []
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True


def plain_head(head: bytes) -> PlainHead | None:
    """A head with its blank line. None: not of the plain shape (HTTP/1.1, kept alive, one length), or malformed."""
    found = _Collector()
    parser = HttpRequestParser(found)
    try:
        parser.feed_data(head)
        plain = found.whole and parser.get_http_version() == "1.1" and parser.should_keep_alive()
    except (HttpParserError, HttpParserUpgrade):
        return None
    names = [name.lower() for name, _ in found.headers]
    lengths = _LENGTH.findall(head)
    if (
        not plain
        or len(names) > MAX_HEADERS
        or names.count(b"host") != 1
        or names.count(b"content-length") != 1
        or len(lengths) != 1
        or not _NOT_PLAIN.isdisjoint(names)
    ):
        return None
    match = _LENGTH.search(head)
    assert match is not None
    return PlainHead(found.headers, head[: match.start(1)], head[match.end(1) :], int(lengths[0]))
