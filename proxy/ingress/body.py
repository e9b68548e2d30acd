"""A request body: whole, bounded in bytes and in time, never decompressed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web

from proxy.ingress.head import Head
from proxy.server.connection import Limits
from proxy.wire.refusals import Reason, Refused


async def read_body(request: web.BaseRequest, head: Head, limits: Limits) -> bytes:
    """Raises `Refused`."""
    if head.content_encoding not in (b"", b"identity"):
        raise Refused(
            Reason.CONTENT_ENCODING,
            "Compressed request bodies are not accepted. Send the JSON uncompressed, without Content-Encoding.",
        )
    limit = limits.max_body_bytes
    if head.content_length and int(head.content_length) > limit:
        raise _too_large(limit)
    if head.expect and request.version >= HttpVersion11:  # RFC 9110 section 10.1.1: ignored before
        _expect(request, head.expect)
    content = request.content
    try:
        if content.is_eof():  # it came with its head: nothing to wait for
            whole = content.read_nowait()
            if len(whole) > limit:
                raise _too_large(limit)
            return whole
        async with asyncio.timeout(limits.body_timeout_s):
            return await _read(content.readany, limit)
    except TimeoutError:
        raise Refused(
            Reason.REQUEST_TIMEOUT, f"The request body did not arrive within {limits.body_timeout_s:g} s."
        ) from None
    except ConnectionResetError:
        raise Refused(Reason.BAD_HTTP, "The connection was lost before the body was read.") from None
    except web.RequestPayloadError:
        raise Refused(Reason.BAD_HTTP, "The request body is not framed as its headers say.") from None


async def _read(readany: Callable[[], Awaitable[bytes]], limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await readany():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _expect(request: web.BaseRequest, expected: bytes) -> None:
    """The front door passes aiohttp's own handling by."""
    if expected != b"100-continue":
        raise Refused(Reason.BAD_HTTP, "The only expectation that can be met is `Expect: 100-continue`.")
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _too_large(limit: int) -> Refused:
    return Refused(
        Reason.TOO_LARGE, f"The request body is larger than {limit // (1024 * 1024)} MiB.", should_retry=False
    )
