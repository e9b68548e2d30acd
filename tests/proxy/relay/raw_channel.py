"""A client on a real socket, and the channel to it, without HTTP: what is written is what arrives."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast


class RawChannel(asyncio.Protocol):
    """Implements `ClientChannel` on an accepted connection."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.head = b""
        self.events = False
        self.length: int | None = None
        self.finished = False
        self.gone = False
        self.pauses = 0
        self.written = 0
        self.most_buffered = 0
        self.connected = asyncio.Event()
        self.set_listener(lambda: None, lambda: None, lambda: None)

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        self._on_gone, self._on_pause, self._on_resume = on_gone, on_pause, on_resume

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.connected.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._on_gone()

    def pause_writing(self) -> None:
        self.pauses += 1
        self._on_pause()

    def resume_writing(self) -> None:
        self._on_resume()

    def start(self, status: int, head: bytes, *, length: int | None, events: bool = False) -> None:
        assert self.status is None
        self.status, self.head, self.length, self.events = status, head, length, events

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        self.start(status, head, length=len(body))
        self.finish(body)

    def write(self, data: bytes) -> None:
        assert self.status is not None and not self.finished and data
        self.written += len(data)
        self._transport.write(data)
        self.most_buffered = max(self.most_buffered, self.buffered())

    def finish(self, last: bytes = b"") -> None:
        assert self.status is not None and not self.finished
        self.finished = True
        if last and not self.gone:
            self._transport.write(last)
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def buffered(self) -> int:
        return self._transport.get_write_buffer_size()


class Client:
    """`await Client.connect()`; small socket buffers, so that a client that does not read is soon felt."""

    def __init__(self, channel: RawChannel, sock: socket.socket, server: asyncio.Server) -> None:
        self.channel = channel
        self._sock = sock
        self._server = server

    @classmethod
    async def connect(cls) -> Client:
        loop = asyncio.get_running_loop()
        channel = RawChannel()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        server = await loop.create_server(lambda: channel, sock=listener)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.setblocking(False)
        await loop.sock_connect(sock, listener.getsockname())
        await channel.connected.wait()
        return cls(channel, sock, server)

    async def read(self, most: int = 65536) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._sock, most)

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def leave(self) -> None:
        """With an RST, as a killed process's kernel does when bytes were left unread."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def stop(self) -> None:
        self._sock.close()
        self._server.close()
        if not self.channel.gone:
            self.channel.abort()
