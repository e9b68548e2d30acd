"""A TCP proxy on loopback that cuts, stalls and resumes the line where a test asks for it: before Redis or Postgres."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from urllib.parse import unquote, urlsplit

import pytest

PIECE_BYTES = 64 * 1024


class Line:
    """`async with Line(path_or_address) as line`: clients connect to `line.host`, `line.port`."""

    def __init__(self, target: str | tuple[str, int], *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._target = target  # the path of a unix socket, or host and port
        self._pass = asyncio.Event()
        self._pass.set()
        self._refusing = False
        self._reply_bytes_left: int | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.delay_s = 0.0  # before each piece, both ways: what is under way when the line is cut is lost
        self.host = "127.0.0.1"
        self.port = 0

    @property
    def redis_url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._connected, self.host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection, now. New ones are accepted."""
        for client, server in list(self._pairs):
            client.transport.abort()
            server.transport.abort()
        self._pairs.clear()

    def cut_after(self, reply_bytes: int) -> None:
        """Once that many more bytes of answers have passed, over all connections, cut: in mid-answer, if so counted."""
        self._reply_bytes_left = reply_bytes

    def refuse(self) -> None:
        """Cut, and cut whoever connects, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        self._refusing = False

    def stall(self) -> None:
        """Connections stay open, new ones too, and nothing passes."""
        self._pass.clear()

    def resume(self) -> None:
        self._pass.set()

    async def _connected(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            to_client.transport.abort()
            return
        try:
            if isinstance(self._target, str):
                from_server, to_server = await asyncio.open_unix_connection(self._target)
            else:
                from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            to_client.transport.abort()
            return
        self._pairs.add((to_client, to_server))
        for work in (self._pump(from_client, to_server, False), self._pump(from_server, to_client, True)):
            pump = asyncio.get_running_loop().create_task(work)
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, replies: bool) -> None:
        try:
            while data := await source.read(PIECE_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._pass.wait()
                if replies and self._reply_bytes_left is not None:
                    if len(data) >= self._reply_bytes_left:
                        sink.write(data[: self._reply_bytes_left])
                        await sink.drain()
                        await asyncio.sleep(0.01)  # what was written reaches the client before the reset does
                        self._reply_bytes_left = None
                        self.cut()
                        return
                    self._reply_bytes_left -= len(data)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    """Before the test's Valkey."""
    async with Line(unquote(urlsplit(redis_url).path)) as line:
        yield line
