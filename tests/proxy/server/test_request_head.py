from __future__ import annotations

import pytest

from proxy.server.request_head import MAX_HEADERS, plain_head

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
USUAL = b"Host: h\r\nAuthorization: Bearer k\r\n"


def test_a_plain_head_is_taken_apart_around_its_length() -> None:
    head = LINE + USUAL + b"Content-Length: 12\r\nX-A: 1\r\n\r\n"
    plain = plain_head(head)
    assert plain is not None
    assert plain.headers == [(b"Host", b"h"), (b"Authorization", b"Bearer k"), (b"Content-Length", b"12"), (b"X-A", b"1")]
    assert plain.length == 12
    assert plain.before + b"12" + plain.after == head
    assert plain.before.endswith(b"Content-Length: ")


@pytest.mark.parametrize(
    "headers",
    [
        USUAL,
        USUAL + b"Transfer-Encoding: chunked\r\n",
        USUAL + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        USUAL + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n",
        USUAL + b"Content-Length: 2\r\nContent-Length: 2\r\n",
        USUAL + b"Content-Length: 2\r\nContent-Length: 3\r\n",
        USUAL + b"Content-Length: 2, 2\r\n",
        USUAL + b"Content-Length: +2\r\n",
        USUAL + b"Content-Length: -2\r\n",
        USUAL + b"Content-Length: 0x2\r\n",
        USUAL + b"Content-Length: 2 2\r\n",
        USUAL + b"Content-Length: \r\n",
        USUAL + b"Content-Length: 9999999999999999999999\r\n",
        USUAL + b"Content-Length : 2\r\n",
        USUAL + b"Content-Length: 2\r\n folded\r\n",
        USUAL + b"X: 1\r\n Content-Length: 2\r\n",
        USUAL + b"X: 1\rContent-Length: 2\r\n",
        USUAL + b"X: 1\nContent-Length: 2\r\n",
        USUAL + b"X: \0\r\nContent-Length: 2\r\n",
        USUAL + b"Content-Length: 2\r\nExpect: 100-continue\r\n",
        USUAL + b"Content-Length: 2\r\nConnection: close\r\n",
        USUAL + b"Content-Length: 2\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        USUAL + b"Content-Length: 2\r\nTrailer: X\r\n",
        USUAL + b"Host: other\r\nContent-Length: 2\r\n",
        b"Authorization: Bearer k\r\nContent-Length: 2\r\n",
        USUAL + b"Content-Length: 2\r\n" + b"X: 1\r\n" * MAX_HEADERS,
    ],
)
def test_any_other_head_is_left_to_aiohttp(headers: bytes) -> None:
    assert plain_head(LINE + headers + b"\r\n") is None


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2"])
def test_other_versions_too(version: bytes) -> None:
    assert plain_head(b"POST / " + version + b"\r\n" + USUAL + b"Content-Length: 2\r\n\r\n") is None
