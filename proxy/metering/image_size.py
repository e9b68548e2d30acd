"""Width and height of an image out of its first bytes: PNG, JPEG, GIF, WebP. Pure; None for anything else."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

_HEAD_CHARS = 512 * 1024  # of base64: metadata before a JPEG's frame header is rarely more
# Start of frame, all kinds of coding; C4, C8 and CC are tables.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_SIDE = 100_000


class Size(NamedTuple):
    width: int
    height: int


def size_in_url(url: str) -> Size | None:
    """Of a base64 data: URL; None for a link, or what is not an image that is known."""
    data = data_in_url(url, _HEAD_CHARS)
    return size_of(data[1]) if data else None


def data_in_url(url: str, max_chars: int) -> tuple[str, bytes] | None:
    """(media type, the first bytes) of a base64 data: URL."""
    if url[:5].lower() != "data:":
        return None
    start = url.find(",", 5, 512)
    if start < 0 or not url[5:start].lower().endswith(";base64"):
        return None
    return url[5:start].partition(";")[0].lower(), decoded(url[start + 1 : start + 1 + max_chars])


def decoded(text: str) -> bytes:
    """Of base64 as far as it is base64: what is cut off or wrong ends it."""
    text = text[: len(text) - len(text) % 4]
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def size_of(head: bytes) -> Size | None:
    size = None
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        size = Size(int.from_bytes(head[16:20]), int.from_bytes(head[20:24]))
    elif head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        size = Size(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        size = _webp(head)
    elif head.startswith(b"\xff\xd8"):
        size = _jpeg(head)
    return size if size and 0 < size.width <= _MAX_SIDE and 0 < size.height <= _MAX_SIDE else None


def _webp(head: bytes) -> Size | None:
    """RFC 9649: the three kinds of first chunk."""
    if len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8 ":
        return Size(int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF)
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return Size(int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1)
    return None


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            return Size(int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7]))
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stands alone
            at += 2
            continue
        length = int.from_bytes(head[at + 2 : at + 4])
        if length < 2:
            return None
        at += 2 + length
    return None
