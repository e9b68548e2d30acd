"""Bytes of a request: built by code, checked once, so that no value can end its line.

What is the same for every call to one endpoint (`Target`) is encoded and checked once; per call remain the headers
of the caller and the length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.outbound.origin import Origin
from proxy.outbound.sink import Headers

# RFC 9110 section 5.6.2
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(r"/[!-~]*", re.ASCII)
# HEAD is left out: its response has a length without a body, which the parser cannot be told
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
# Framing and connection are this file's business (RFC 9110 section 7.6.1, RFC 9112 section 6)
_OURS = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"accept-encoding",
        b"cookie",
    }
)
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\r\n")


class BadHeader(ValueError):
    """A header that must not be sent. The message names the header, never its value."""


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of one origin, with the encoded start of every request to it."""

    origin: Origin
    prefix: bytes

    def request(self, headers: Sequence[tuple[bytes, bytes]], body: bytes | None = None) -> bytes:
        """The whole request. BadHeader for a name that is not a token or is ours, a value that holds CR, LF, NUL, …"""
        prefix = self.prefix + _encoded(headers) if headers else self.prefix
        if body is None:
            return prefix + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n%b" % (prefix, len(body), body)

    def with_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> Target:
        """The same endpoint, with headers that go with every request. Raises as `request`."""
        return Target(self.origin, self.prefix + _encoded(headers))


def target(origin: Origin, method: str, path: str, headers: Headers | None = None) -> Target:
    """`headers` go with every request. ValueError for a method or path that cannot stand in a start line."""
    if method not in _METHODS:
        raise ValueError(f"method {method!r} is not one that this client sends")
    if not _PATH.fullmatch(path) or "#" in path:
        raise ValueError("a path starts with / and has no spaces, controls or fragment")
    start = f"{method} {path} HTTP/1.1\r\nhost: {origin.authority}\r\naccept-encoding: identity\r\n"
    return Target(origin, start.encode("ascii") + _encoded(headers or []))


def _encoded(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = []
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise BadHeader("a header name holds characters that HTTP does not allow")
        if name.lower() in _OURS:
            raise BadHeader(f"{name.decode('ascii')} is set by the client itself")
        lines.append(b"%b: %b\r\n" % (name, value))
    block = b"".join(lines)
    # One pass over all values: exactly our own line ends, no other control character.
    ends = len(lines)
    if block.count(b"\r") != ends or block.count(b"\n") != ends or block.translate(None, _CONTROLS) != block:
        names = b", ".join(name for name, value in headers if _hostile(value)).decode("ascii")
        raise BadHeader(f"the value of {names} holds a control character")
    return block


def _hostile(value: bytes) -> bool:
    return b"\r" in value or b"\n" in value or value.translate(None, _CONTROLS) != value
