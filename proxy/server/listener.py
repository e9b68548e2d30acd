"""Listening, the front door for hot paths, and draining.

Plain requests of the hottest path have connections of their own (front.py). The front door is for its others: POST on a
hot path goes to its handler without aiohttp's router, middlewares and response classes (about 36 µs a request, measured);
everything else takes aiohttp's ordinary way. What the bypass would lose is done by the hot handler itself: `Expect:
100-continue`, `x-request-id`, refusals in OpenAI's shape.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web

from proxy.server.connection import ClientConnection, Connections, Limits
from proxy.server.front import FrontConnection, HotHandler

_VERSIONS = (HttpVersion11, HttpVersion10)
ColdHandler = Callable[[web.BaseRequest, ClientConnection], Awaitable[web.StreamResponse]]


class Listener:
    """One gateway's server. `hot` maps a raw path to its handler (POST only); `front` has connections of its own for one
    of them.
    """

    def __init__(
        self, app: web.Application, hot: Mapping[str, ColdHandler], front: HotHandler, limits: Limits
    ) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._hot = dict(hot)
        self._front = front
        for path in hot:
            app.router.add_post(path, _gone)  # so that another method is told 405
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self.connections = Connections(limits)

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        await self._runner.setup()
        manager = self._runner.server
        assert manager is not None
        cold = manager.request_handler
        manager.request_handler = self._front_door(cold)
        loop = asyncio.get_running_loop()

        def cold_connection() -> ClientConnection:
            return ClientConnection(
                manager, self.connections, loop=loop, access_log=None, keepalive_timeout=self._limits.keepalive_timeout_s,
                auto_decompress=False, lingering_time=2.0,
            )  # fmt: skip

        def connection() -> FrontConnection:
            return FrontConnection(self.connections, self._front, cold_connection)

        for sock in sockets:
            self._servers.append(await loop.create_server(connection, sock=sock, ssl=tls, backlog=1024))

    def _front_door(
        self, cold: Callable[[Any], Awaitable[web.StreamResponse]]
    ) -> Callable[[Any], Awaitable[web.StreamResponse]]:
        hot = self._hot

        async def enter(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            if not isinstance(connection, ClientConnection):  # already lost
                return await cold(request)
            connection.request_begins()
            try:
                # aiohttp takes 2.0 in a request line, and says it back. Chunks in HTTP/1.0: faulty (RFC 9112 section 6.1).
                if request.version not in _VERSIONS or (
                    request.version == HttpVersion10 and "Transfer-Encoding" in request.headers
                ):
                    return connection.handle_error(request, 400)
                handler = hot.get(request.path) if request.method == "POST" else None
                if handler is not None:
                    return await handler(request, connection)
                response = await cold(request)
                if self.connections.draining:
                    response.force_close()
                return response
            finally:
                connection.request_ends()

        return enter

    @property
    def draining(self) -> bool:
        return self.connections.draining

    def tick(self, now: float) -> None:
        self.connections.tick(now)

    def stop_accepting(self) -> None:
        """No new connection; answers from now on say that theirs will be closed.

        Idle ones stay: a proxy in front may have just put a request on one, and would answer its client 502.
        """
        self.connections.draining = True
        for server in self._servers:
            server.close()

    def close_idle(self) -> None:
        """After `stop_accepting`: what is idle now or will be, is closed."""
        self.connections.close_idle()

    async def close(self, grace_s: float) -> None:
        """Ends what is still under way after the grace."""
        for connection in list(self.connections.open):
            if isinstance(connection, FrontConnection):
                connection.end()
        if self._runner.server is not None:
            await self._runner.server.shutdown(grace_s)
        await self._runner.cleanup()


async def _gone(request: web.Request) -> web.StreamResponse:
    """A hot path by the cold way: the connection was lost before its request was handled."""
    raise web.HTTPNotFound
