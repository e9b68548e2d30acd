"""More than a gateway can hold: refused in time with a word on when to come back, while what it holds already goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.gateway import RunningGateway, one_provider, running, settings_of, until
from tests.upstream.plugin import upstream as upstream
from tests.upstream.script import EVENT_STREAM, LAST_CHUNK, Flood, Hold, Script, Send, chunk, head, raw, whole
from tests.upstream.server import Upstream

KIB, MIB = 1024, 1024 * 1024
USAGE = b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
ANSWER = whole(b'{"choices":[{"index":0,"message":{"content":"Hi"}}],%b}' % USAGE)
OPENING = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
DELTA = chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n')
LAST = chunk(b'data: {"choices":[],%b}\n\n' % USAGE) + chunk(b"data: [DONE]\n\n") + LAST_CHUNK


@pytest.fixture
def started(tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream) -> Any:
    def start(**server: Any) -> contextlib.AbstractAsyncContextManager[RunningGateway]:
        upstreams = {"drain_s": 0.2, "max_in_flight_share": 1}
        parts = {"server": {"shutdown_grace_s": 1.0, **server}, "upstream": upstreams}
        return running(settings_of(tmp_path, database_url, redis_url, *one_provider(upstream.base_url), **parts))

    return start


def ask(size: int = 0, **fields: Any) -> bytes:
    """A body of at least so many bytes."""
    message = {"role": "user", "content": "x" * size}
    return orjson.dumps({"model": "scripted-llm", "messages": [message], **fields})


def held(script: Script, until_then: asyncio.Event) -> Script:
    return Script([Hold(until_then), *script.steps])


async def refused(response: aiohttp.ClientResponse, why: str) -> None:
    error = (await response.json())["error"]
    assert (response.status, error["code"], response.headers["retry-after"]) == (503, "overloaded", "1")
    assert why in error["message"]


async def well(up: RunningGateway) -> None:
    """What watches and manages the gateway is answered."""
    for path in ("/health/live", "/health/ready"):
        async with up.session.get(up.url + path) as response:
            assert response.status == 200
    assert (await up.api("workspaces"))["data"]
    async with up.session.get(f"{up.url}/v1/models", headers={"Authorization": f"Bearer {up.key}"}) as response:
        assert response.status == 200


async def refusals(up: RunningGateway) -> int:
    async with up.session.get(f"{up.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    wanted = 'synapscale_refusals_total{code="overloaded"} '
    return sum(int(float(line.removeprefix(wanted))) for line in lines if line.startswith(wanted))


async def asked(upstream: Upstream, count: int) -> None:
    async def there() -> bool:
        return len(upstream.requests) >= count

    await until(there, f"{count} requests have reached the provider")


def connect(up: RunningGateway, *, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", int(up.url.rpartition(":")[2])))
    sock.setblocking(False)
    return sock


def opening(up: RunningGateway, length: int) -> bytes:
    lines = f"Host: x\r\nAuthorization: Bearer {up.key}\r\nContent-Length: {length}\r\n\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}".encode()


async def test_requests_in_flight_are_bounded(started: Any, upstream: Upstream) -> None:
    let_go = asyncio.Event()
    async with started(max_in_flight=2) as up:
        upstream.expect(*[held(ANSWER, let_go)] * 2)
        waiting = [asyncio.ensure_future(up.chat(ask())) for _ in range(2)]
        await asked(upstream, 2)
        await refused(await up.chat(ask()), "in flight")
        await well(up)
        let_go.set()
        assert [response.status for response in await asyncio.gather(*waiting)] == [200, 200]
        upstream.expect(ANSWER)
        assert (await up.chat(ask())).status == 200
        assert await refusals(up) == 1
        await up.rows(3)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def test_bodies_in_flight_are_bounded_together(started: Any, upstream: Upstream) -> None:
    let_go = asyncio.Event()
    large = ask(600 * KIB)
    async with started(max_body_mib=1, max_bodies_mib=1) as up:
        upstream.expect(held(ANSWER, let_go))
        first = asyncio.ensure_future(up.chat(large))
        await asked(upstream, 1)
        await refused(await up.chat(large), "too large together")
        headers = {"Authorization": f"Bearer {up.key}", "Content-Type": "application/json"}
        # Without a length it may become as large as any.
        async with up.session.post(f"{up.url}/v1/chat/completions", data=chunks(large), headers=headers) as response:
            await refused(response, "too large together")
        upstream.expect(ANSWER)
        assert (await up.chat(ask())).status == 200, "a small one fits"
        await well(up)
        let_go.set()
        assert (await first).status == 200
        assert up.gateway.load.body_bytes == 0
        upstream.expect(ANSWER, ANSWER)
        assert (await up.chat(large)).status == 200
        async with up.session.post(f"{up.url}/v1/chat/completions", data=chunks(large), headers=headers) as response:
            assert response.status == 200
        assert up.gateway.load.body_bytes == 0
        assert await refusals(up) == 2
        await up.rows(4)


async def test_a_body_that_is_waited_for_counts_until_its_client_leaves(started: Any, upstream: Upstream) -> None:
    async with started(max_body_mib=1, max_bodies_mib=1) as up:
        upstream.expect(ANSWER)
        assert (await up.chat(ask())).status == 200, "the caller is known from now on"
        with contextlib.closing(connect(up)) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, opening(up, 700 * KIB) + b"{")

            async def counted() -> bool:
                return bool(up.gateway.load.body_bytes == 700 * KIB)

            await until(counted, "the body counts")
            await refused(await up.chat(ask(600 * KIB)), "too large together")

        async def forgotten() -> bool:
            return bool(up.gateway.load.body_bytes == 0)

        await until(forgotten, "the body is no longer waited for")
        upstream.expect(ANSWER)
        assert (await up.chat(ask(600 * KIB))).status == 200
        await up.rows(2)


async def test_short_of_memory(started: Any, upstream: Upstream) -> None:
    """A Python process has more than 1 MiB: the gate closes at its first look."""
    let_go = asyncio.Event()
    async with started(max_memory_mib=1) as up:

        async def tight() -> bool:
            return bool(up.gateway.load.is_tight)

        await until(tight, "the gate is closed")
        upstream.expect(raw(OPENING + DELTA, Hold(let_go), LAST))
        headers = {"Authorization": f"Bearer {up.key}"}
        body = orjson.loads(ask(stream=True))
        async with up.session.post(f"{up.url}/v1/chat/completions", json=body, headers=headers) as stream:
            assert (stream.status, stream.headers.get("connection")) == (200, "close"), "alone it is let through"
            assert b"Hi" in await stream.content.readany()
            response = await up.chat(ask())
            await refused(response, "short of memory")
            assert response.headers["connection"] == "close"
            await well(up)
            let_go.set()
            assert (await stream.read()).endswith(b"data: [DONE]\n\n"), "what is under way goes on"
        assert await refusals(up) == 1
        await up.rows(1)


async def test_many_clients_that_do_not_read(started: Any, upstream: Upstream) -> None:
    """Each is sent what sockets and one buffer hold of its 64 MiB; then its provider waits too."""
    # Nothing in it that would be counted as text: that takes its time.
    frame = b'data: {"choices":[{"index":0,"delta":{}}],"padding":"' + b"x" * 1000 + b'"}\n\n'
    upstream.always(Script([Send(OPENING), Flood(chunk(frame * 64), 64 * MIB)]))
    clients = 12
    most_bytes = 0
    async with started() as up:
        body = ask(stream=True)
        with contextlib.ExitStack() as open_sockets:
            for _ in range(clients):
                sock = open_sockets.enter_context(contextlib.closing(connect(up, receive_buffer=4096)))
                await asyncio.get_running_loop().sock_sendall(sock, opening(up, len(body)) + body)
            await asked(upstream, clients)
            before: list[int] = []
            unchanged = 0

            async def stalled() -> bool:
                nonlocal before, unchanged, most_bytes
                now = [line.transport.get_write_buffer_size() for line in upstream.lines]
                unsent = [each.transport.get_write_buffer_size() for each in up.gateway.listener.connections.open if each.transport]
                most_bytes = max(most_bytes, *unsent)
                unchanged = unchanged + 1 if now == before and all(now) else 0
                before = now
                return unchanged >= 5

            await until(stalled, "every provider waits", 30)
            await well(up)
            assert most_bytes < MIB
        await up.rows(clients)
