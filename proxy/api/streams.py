"""How a file is sent: piece by piece as the client takes it, and with a clean end only where it is whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import HttpVersion11, web

from proxy.api.endpoint import Download
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)
# Each holds a connection of the pool, which requests need too, and a snapshot of the database.
MOST_AT_ONCE = 2
SEND_S = 4 * 3600.0


class Seats:
    """How many files this process sends at once."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._free = most

    @contextmanager
    def taken(self) -> Iterator[None]:
        if not self._free:
            raise Refused(
                Reason.OVERLOADED, "Other exports are being sent. Try again when they are through.", retry_after_s=30
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def require_chunks(request: web.Request) -> None:
    """HTTP/1.0 ends a body by closing: there a file that broke off would look whole."""
    if request.version < HttpVersion11:
        raise Refused(Reason.BAD_HTTP, "An export is sent in chunks. Ask for it with HTTP/1.1.")


async def send(request: web.Request, download: Download, first: bytes) -> web.StreamResponse:
    """`first` was taken from the pieces already; the caller closes them.

    Returns also where the file broke off: its connection is cut then.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": download.media_type,
            "Content-Disposition": f'attachment; filename="{download.file_name}"',
            **download.headers,
        }
    )
    response.enable_chunked_encoding()
    await response.prepare(request)
    whole = False
    try:
        async with asyncio.timeout(SEND_S):
            await response.write(first)
            async for piece in download.pieces:
                await response.write(piece)
        whole = True
    except (*POSTGRES_AWAY, *POSTGRES_BUSY) as error:  # the client that leaves is an OSError too
        log.warning("%s broke off: %r", download.file_name, error)
    finally:
        if not whole and request.transport is not None:
            request.transport.abort()
    return response
