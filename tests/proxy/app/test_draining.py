"""A gateway that was asked to stop, as the clients of its open connections see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway import RunningGateway, one_provider, running, settings_of, until
from tests.upstream.plugin import upstream as upstream
from tests.upstream.script import Hold, Script, whole
from tests.upstream.server import Upstream

ANSWER = whole(
    b'{"choices":[{"index":0,"message":{"content":"Hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
BODY = b'{"model":"scripted-llm","messages":[{"role":"user","content":"Hello"}]}'
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def up(tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream) -> AsyncIterator[RunningGateway]:
    """Idle connections would stay for a minute: no test waits for that."""
    server = {"idle_close_s": 60, "shutdown_grace_s": 60}
    async with running(settings_of(tmp_path, database_url, redis_url, *one_provider(upstream.base_url), server=server)) as up:
        yield up


class Client:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, up: RunningGateway) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", int(up.url.rpartition(":")[2])))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, str | None]:
        """Status and `connection`."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await self.reader.readexactly(int(lines["content-length"]))
        return int(head.split()[1]), lines.get("connection")

    async def ask(self, data: bytes) -> tuple[int, str | None]:
        self.send(data)
        return await self.answer()

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 10) == b""


def hot(up: RunningGateway) -> bytes:
    lines = f"Host: x\r\nAuthorization: Bearer {up.key}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}".encode() + BODY


async def asked(upstream: Upstream, count: int) -> None:
    async def there() -> bool:
        return len(upstream.requests) == count

    await until(there, f"the provider is asked {count} times")


async def stops(up: RunningGateway) -> asyncio.Task[None]:
    stopping = asyncio.ensure_future(up.gateway.stop())

    async def draining() -> bool:
        return up.gateway.listener.draining

    await until(draining, "the gateway drains")
    return stopping


async def test_what_comes_on_an_idle_connection_is_answered(up: RunningGateway, upstream: Upstream) -> None:
    """A proxy in front put it there before it knew."""
    upstream.expect(ANSWER, ANSWER)
    front, cold = await Client.connect(up), await Client.connect(up)
    assert await front.ask(hot(up)) == (200, None)
    assert await cold.ask(HEALTH) == (200, None)
    stopping = await stops(up)
    assert await front.ask(hot(up)) == (200, "close")
    assert await cold.ask(HEALTH) == (200, "close")
    assert await front.is_closed() and await cold.is_closed()
    await asyncio.wait_for(stopping, 10)  # nobody is left to wait for


async def test_idle_connections_are_closed_in_their_time(up: RunningGateway, upstream: Upstream) -> None:
    let_go = asyncio.Event()
    upstream.expect(ANSWER, Script([Hold(let_go), *ANSWER.steps]))
    front, cold, busy = await Client.connect(up), await Client.connect(up), await Client.connect(up)
    assert await front.ask(hot(up)) == (200, None)
    assert await cold.ask(HEALTH) == (200, None)
    busy.send(hot(up))
    await asked(upstream, 2)
    stopping = await stops(up)
    up.gateway.listener.close_idle()  # as `stop` does after `server.idle_close_s`
    assert await front.is_closed() and await cold.is_closed()
    let_go.set()
    assert (await busy.answer())[0] == 200
    assert await busy.is_closed()
    await asyncio.wait_for(stopping, 10)


async def test_an_answer_under_way_is_finished_first(up: RunningGateway, upstream: Upstream) -> None:
    let_go = asyncio.Event()
    upstream.expect(Script([Hold(let_go), *ANSWER.steps]), ANSWER)
    busy = await Client.connect(up)
    busy.send(hot(up))
    await asked(upstream, 1)
    stopping = await stops(up)
    let_go.set()
    # Its head was decided before: whoever believes it and sends again is answered too.
    assert await busy.answer() == (200, None)
    assert await busy.ask(hot(up)) == (200, "close")
    assert await busy.is_closed()
    await asyncio.wait_for(stopping, 10)


async def test_hurry_ends_the_grace_and_settles(up: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(Script([Hold(asyncio.Event()), *ANSWER.steps]))
    busy = await Client.connect(up)
    busy.send(hot(up))
    await asked(upstream, 1)
    stopping = await stops(up)
    up.gateway.hurry.set()
    assert (await asyncio.wait_for(busy.answer(), 10))[0] == 503  # the grace is a minute
    assert await busy.is_closed()
    await asyncio.wait_for(stopping, 10)
    assert up.gateway.load.in_flight == 0
