"""Sinks for tests: one that collects everything and complains about a second end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.outbound.origin import split_base_url
from proxy.outbound.pool import Pool
from proxy.outbound.request import target
from proxy.outbound.sink import Broken, Headers, UpstreamCall
from proxy.outbound.ticker import Ticker
from tests.upstream.server import Upstream


class LoopErrors:
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.seen.append(context)


class Collected:
    """`await ended` gives None for a complete response, else what broke it."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.ended: asyncio.Future[Broken | None] = asyncio.get_running_loop().create_future()
        self.started = asyncio.Event()
        self.on_piece: Callable[[bytes], None] = lambda piece: None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def on_head(self, status: int, headers: Headers) -> None:
        assert self.status is None and not self.ended.done()
        self.status, self.headers = status, headers
        self.started.set()

    def on_body(self, chunk: bytes) -> None:
        assert self.status is not None and not self.ended.done() and chunk
        self.pieces.append(chunk)
        self.on_piece(chunk)

    def on_end(self) -> None:
        assert self.status is not None
        self.ended.set_result(None)

    def on_broken(self, reason: Broken) -> None:
        self.ended.set_result(reason)


def call(
    pool: Pool,
    upstream: Upstream,
    *,
    body: bytes = b"{}",
    connect_timeout_s: float = 5,
    idle_timeout_s: float = 5,
    first_byte_timeout_s: float | None = None,
    host: str = "",
) -> tuple[Collected, UpstreamCall]:
    sink = Collected()
    origin, path = split_base_url(upstream.base_url)
    if host:
        origin = origin._replace(host=host)
    request = target(origin, "POST", path + "/chat/completions").request([(b"authorization", b"Bearer k")], body)
    running = pool.call(
        origin,
        request,
        sink,
        connect_timeout_s=connect_timeout_s,
        idle_timeout_s=idle_timeout_s,
        first_byte_timeout_s=first_byte_timeout_s,
    )
    return sink, running


class HandTicker(Ticker):
    """Time passes where the test says so, however busy the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for watcher in tuple(self._watchers):
            watcher.tick(self.now)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
