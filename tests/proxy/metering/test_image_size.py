from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.image_size import Size, data_in_url, size_in_url, size_of


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)


def jpeg(width: int, height: int, *, before: bytes = b"", marker: int = 0xC0) -> bytes:
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, height, width, 3)
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + before + frame + bytes(9)


def webp(kind: bytes, width: int, height: int) -> bytes:
    bodies = {
        b"VP8 ": b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height),
        b"VP8L": b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        b"VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
    }
    body = bodies[kind]
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body + bytes(16)


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


EXIF = b"\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000)


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480), gif(640, 480), jpeg(640, 480), jpeg(640, 480, before=EXIF * 3), jpeg(640, 480, marker=0xC2),
        jpeg(640, 480, before=b"\xff\xc4\x00\x04\x00\x00\xff"), webp(b"VP8 ", 640, 480), webp(b"VP8L", 640, 480),
        webp(b"VP8X", 640, 480),
    ],
)  # fmt: skip
def test_sizes(data: bytes) -> None:
    assert size_of(data) == Size(640, 480)
    assert size_in_url(url(data)) == Size(640, 480)
    for end in range(min(len(data), 60)):
        assert size_of(data[:end]) in (None, Size(640, 480))


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/x.png", "data:image/png,plain", "data:image/png;base64,", "data:image/png;base64,****", "", "data:",
        url(png(0, 5)), url(png(2**31, 5)), url(b"BM not known"),
    ],
)  # fmt: skip
def test_unknown_sizes(link: str) -> None:
    assert size_in_url(link) is None


def test_the_media_type_is_told() -> None:
    assert data_in_url("DATA:Text/Plain;charset=utf-8;base64,aGk=", 100) == ("text/plain", b"hi")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"RIFF\0\0\0\0WEBP", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        size = size_of(start + data)
        assert size is None or min(size) > 0
