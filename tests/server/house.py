"""One gateway on its real listener, with short limits, for all the raw-socket tests of a module.

The contract after every test, whatever was sent: as many usage rows as requests the provider got, nothing in flight, no
socket left open, no error logged, no exception that nobody handled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.gateway import RunningGateway, until
from tests.server.http1 import Heard
from tests.upstream.server import Upstream

HEAD_S = 0.5  # server.header_timeout_s
BODY_S = 0.5
WRITE_S = 1.0
MAX_BODY_MIB = 1
HANG_S = 15.0  # no answer and no end within this: a hang

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}], "usage": USAGE})
ASK = orjson.dumps({"model": "scripted-llm", "messages": [{"role": "user", "content": "Hello"}]})
ASK_STREAM = ASK[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
DONE = b'data: {"choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % orjson.dumps(USAGE)
HOT = b"/v1/chat/completions"

LAST = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Sent behind a vector: it is answered where the server went on on this connection, and ends it."""


_ROOMS = ("/aiohttp/web", "/proxy/server/", "/proxy/ingress/", "/proxy/flow/", "/proxy/relay/", "/proxy/outbound/")


def _file(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None else str(code.co_filename)


class Provider(Upstream):
    """One for many tests."""

    def forget(self) -> None:
        self._expected.clear()
        self._standing = None
        self.requests.clear()
        self.unexpected.clear()


@dataclass
class House:
    running: RunningGateway
    upstream: Provider
    loop_errors: list[dict[str, Any]] = field(default_factory=list)
    rows_before: int = 0
    rows_asked: int = 0  # what the test itself found right: a request may be lost on its way to a provider that resets

    @property
    def port(self) -> int:
        return int(self.running.url.rpartition(":")[2])

    @property
    def key(self) -> bytes:
        return self.running.key.encode()

    @property
    def admin_key(self) -> bytes:
        return self.running.admin_key.encode()

    def post(
        self,
        body: bytes = ASK,
        *,
        extra: bytes = b"",
        version: bytes = b"1.1",
        key: bytes | None = None,
        path: bytes = HOT,
    ) -> bytes:
        """A good hot request; `extra` are whole header lines."""
        length = b"Content-Length: %d\r\n" % len(body)
        return self.head(extra=extra + length, version=version, key=key, path=path) + body

    def head(
        self, *, extra: bytes = b"", version: bytes = b"1.1", key: bytes | None = None, path: bytes = HOT, method: bytes = b"POST"
    ) -> bytes:  # fmt: skip
        bearer = b"Authorization: Bearer %b\r\n" % (self.key if key is None else key)
        return b"%b %b HTTP/%b\r\nHost: gateway\r\n%b%b\r\n" % (method, path, version, bearer, extra)

    def manage(self, method: bytes, path: bytes, body: bytes = b"", *, extra: bytes = b"") -> bytes:
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        return self.head(method=method, path=b"/api/v1/" + path, key=self.admin_key, extra=extra + length) + body

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return Client(sock)

    async def talk(self, *pieces: bytes, methods: Sequence[str] = ()) -> Heard:
        """Sends the pieces one after the other and hears until the server closes. A server that does not: a hang."""
        client = await self.connect()
        with contextlib.closing(client):
            sending = asyncio.ensure_future(client.send_all(pieces))
            heard = await client.hear(methods)
            await sending
        return heard

    async def asked(self, count: int) -> None:
        """Until the provider got so many requests."""

        async def there() -> bool:
            return len(self.upstream.requests) >= count

        await until(there, f"{count} requests at the provider", HANG_S)

    # ---- what must hold again after every test

    async def rows(self) -> int:
        return int(await self.running.gateway.pool.fetchval("SELECT count(*) FROM usage_events"))

    async def new_rows(self, count: int) -> list[dict[str, Any]]:
        """Exactly so many since the test began, oldest first."""
        self.rows_asked = count
        await self._arrived(count)
        return await self._newest(count)

    async def _newest(self, count: int) -> list[dict[str, Any]]:
        query = "SELECT * FROM usage_events ORDER BY occurred_at DESC, attempt_id DESC LIMIT $1"
        return [dict(row) for row in reversed(await self.running.gateway.pool.fetch(query, count))]

    async def _arrived(self, count: int) -> None:
        async def there() -> bool:
            return await self.rows() - self.rows_before >= count

        await until(there, f"{count} usage rows", HANG_S)
        found = await self.rows() - self.rows_before
        assert found == count, f"{found} usage rows for {count} requests that the provider got"

    async def quiet(self) -> None:
        await until(self._nothing_in_flight, "nothing in flight", HANG_S)
        await self._arrived(max(self.rows_asked, len(self.upstream.requests)))
        await until(self._no_clients, f"no client's socket left: {self.sockets(self.port)}", HANG_S)
        await until(self._no_tasks, f"no task left: {self.tasks()}", HANG_S)

    async def provider_left(self) -> None:
        """Idle connections to the provider are kept for `keep_alive_s`; then none may be left."""
        await until(self._no_provider, f"no socket to the provider left: {self.sockets(self.upstream.port)}", HANG_S)

    async def _nothing_in_flight(self) -> bool:
        return not self.running.gateway.desk.in_flight

    async def _no_clients(self) -> bool:
        return not self.sockets(self.port)

    async def _no_provider(self) -> bool:
        return not self.sockets(self.upstream.port)

    async def _no_tasks(self) -> bool:
        return not self.tasks()

    @staticmethod
    def sockets(port: int) -> list[str]:
        """The server's ends of connections to a port of this process, as the kernel has them.

        Open, or closed by the other side and not by us; TIME_WAIT and the like are nobody's any more.
        """
        found = []
        for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            if int(local.rpartition(":")[2], 16) == port and state in ("01", "08"):
                found.append(f"{local} {remote} {state}")
        return found

    def tasks(self) -> list[str]:
        """Of connections, requests and attempts. (The worker beside it always has some.)"""
        return [repr(task) for task in asyncio.all_tasks() if any(room in _file(task) for room in _ROOMS)]


class Client:
    """One raw connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.data = bytearray()

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def send_all(self, pieces: Sequence[bytes]) -> None:
        """As far as the server takes them."""
        for piece in pieces:
            try:
                await self.send(piece)
            except OSError:
                return
            await asyncio.sleep(0)

    async def hear(self, methods: Sequence[str] = ()) -> Heard:
        reset = False
        async with asyncio.timeout(HANG_S):
            try:
                while piece := await self.loop.sock_recv(self.sock, 1 << 16):
                    self.data += piece
            except ConnectionError:
                reset = True
        return Heard(bytes(self.data), reset, tuple(methods))

    async def until(self, mark: bytes, count: int = 1) -> bytes:
        """Hears until the mark has come `count` times; EOFError where the server closes before."""
        async with asyncio.timeout(HANG_S):
            while self.data.count(mark) < count:
                piece = await self.loop.sock_recv(self.sock, 1 << 16)
                if not piece:
                    raise EOFError(bytes(self.data))
                self.data += piece
        return bytes(self.data)

    def reset(self) -> None:
        """RST, as a process that is killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@contextlib.asynccontextmanager
async def watched(house: House) -> AsyncIterator[House]:
    """Around a test: what must hold again after it."""
    house.upstream.forget()
    house.loop_errors.clear()
    house.rows_before, house.rows_asked = await house.rows(), 0
    yield house
    house.upstream.verify()
    await house.quiet()
    assert not house.loop_errors, house.loop_errors
