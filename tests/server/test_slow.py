"""Heads, bodies and readers that come slowly or not at all: cut, and memory stays bounded. The slow but honest are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.gateway import until
from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, HANG_S, LAST, Client, House
from tests.upstream.script import LAST_CHUNK, Script, Send, chunk, chunked, head, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNFINISHED = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a request line": b"POST /v1/chat",
    "half a hot head": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bear",
    "half a cold head": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: y\r\n",
    "a head without its last line": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r",
}


@pytest.mark.parametrize("start", UNFINISHED.values(), ids=UNFINISHED)
async def test_half_a_head_is_cut(house: House, start: bytes) -> None:
    heard = await house.talk(*([start] if start else []))
    assert heard.statuses in ([], [400], [408])


@pytest.mark.parametrize("first", ["hot", "cold"])
async def test_half_a_second_head_is_cut(house: House, first: str) -> None:
    """Behind the answer as a slow head; in one packet with the first request at the latest as an idle connection."""
    house.upstream.always(whole(ANSWER))
    data = house.post() if first == "hot" else house.head(method=b"GET", path=b"/v1/models")
    for half in (b"P", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: y\r\n"):
        client = await house.connect()
        await client.send(data)
        await client.until(b"}")
        await client.send(half)
        assert (await client.hear()).statuses in ([200], [200, 408], [200, 400])
        client.close()
        assert (await house.talk(data + half)).statuses in ([200], [200, 408], [200, 400])


@pytest.mark.parametrize(
    "start", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"]
)
async def test_a_dripping_head_is_cut(house: House, start: bytes) -> None:
    """Byte by byte, and line by line: the limit is on the whole of it."""
    for drop in (b"X", b"X: y\r\n"):
        client = await house.connect()
        heard = await _while_dripping(client, start or drop, drop)
        assert heard in ([], [400], [408], [431])


async def test_a_head_without_end_is_cut(house: House) -> None:
    """As fast as it goes: refused long before the time is over, and not kept."""
    for endless in (b"X: y\r\n" * 1000, b"x" * 6000):
        client = await house.connect()
        sent = 0
        try:
            async with asyncio.timeout(HANG_S):
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
                while sent < 64 * 1024 * 1024:
                    await client.send(endless)
                    sent += len(endless)
        except ConnectionError:
            pass
        assert sent < 16 * 1024 * 1024
        client.close()


async def test_idle_between_requests_is_no_slow_head(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    client = await house.connect()
    await client.send(house.post())
    await client.until(ANSWER)
    await asyncio.sleep(2)  # longer than a head may take, and the guards looked twice
    await client.send(house.post() + LAST)
    assert (await client.hear()).statuses == [200, 200, 200]
    client.close()


BODIES = {
    "a length": b"Content-Length: %d\r\n" % len(ASK),
    "chunks": b"Transfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("framing", BODIES)
@pytest.mark.parametrize("part", [b"", b"{"], ids=["none of it", "a part"])
async def test_a_body_that_stays_away_is_cut(house: House, framing: str, part: bytes) -> None:
    data = part if framing == "a length" or not part else chunk(part)
    heard = await house.talk(house.head(extra=BODIES[framing]) + data)
    assert heard.statuses == [408]
    assert heard.answers[0].code == "request_timeout" and heard.answers[0].closes


@pytest.mark.parametrize("framing", BODIES)
async def test_a_dripping_body_is_cut(house: House, framing: str) -> None:
    """The limit is on the whole of it, not on the gaps."""
    client = await house.connect()
    drop = b" " if framing == "a length" else chunk(b" ")
    assert await _while_dripping(
        client, house.head(extra=BODIES[framing].replace(b"%d" % len(ASK), b"5000")), drop
    ) == [408]


async def test_a_management_body_that_stays_away_is_cut(house: House) -> None:
    client = await house.connect()
    await client.send(house.manage(b"POST", b"workspaces", b"{}")[:-2])
    try:
        async with asyncio.timeout(5):
            assert (await client.hear()).statuses in ([408], [])
    finally:
        client.reset()


# ---- readers


def frames(count: int, size: int) -> list[bytes]:
    content = b"x" * size
    return [b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % content] * count


def flood(block: bytes, count: int) -> Script:
    """Each block counts as one token, so that the upstream's account says how much of it was taken."""
    opening = head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
    return Script([Send(opening), *[Send(chunk(block), tokens=1)] * count, Send(chunk(DONE) + LAST_CHUNK)])


async def test_a_reader_that_takes_nothing_is_cut_and_nothing_is_kept(house: House) -> None:
    """256 MB are offered. What is taken from the provider before the cut is what socket buffers hold."""
    block = b"".join(frames(256, 1000))
    house.upstream.expect(flood(block, 1000))
    client = await house.connect(receive_buffer=4096)
    await client.send(house.post(ASK_STREAM))

    async def cut() -> bool:
        return not house.sockets(house.port)

    await until(cut, "the reader is cut", HANG_S)
    assert house.upstream.account.entries[-1].completion_tokens * len(block) < 40 * 1024 * 1024
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "client_abort"
    client.close()


async def test_a_reader_that_takes_little_gets_all(house: House) -> None:
    """Slow for longer than a reader may rest."""
    parts = frames(16, 1000) * 200
    house.upstream.expect(chunked([b"".join(parts), DONE]))
    client = await house.connect(receive_buffer=65536)
    await client.send(house.post(ASK_STREAM, extra=b"Connection: close\r\n"))
    async with asyncio.timeout(60):
        while piece := await client.loop.sock_recv(client.sock, 65536):
            client.data += piece
            await asyncio.sleep(0.03)
    (answer,) = (await client.hear()).answers
    assert answer.body == b"".join(parts) + DONE and answer.complete
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "ok"
    client.close()


async def test_an_unread_answer_that_is_no_stream_is_cut(house: House) -> None:
    answer = orjson.dumps({**orjson.loads(ANSWER), "padding": "x" * 12_000_000})
    house.upstream.expect(whole(answer))
    client = await house.connect(receive_buffer=4096)
    await client.send(house.post())

    async def cut() -> bool:
        return not house.sockets(house.port)

    await until(cut, "the reader is cut", HANG_S)
    (row,) = await house.new_rows(1)
    assert (row["input_tokens"], row["output_tokens"]) == (9, 4)
    client.close()


async def test_many_slow_ones_do_not_keep_others_waiting(house: House) -> None:
    """200 connections that stay in the middle of a head, a body or an answer."""
    house.upstream.always(whole(ANSWER))
    slow = [await house.connect() for _ in range(200)]
    for number, client in enumerate(slow):
        await client.send([b"", b"GET / HTTP/1.1\r\nX: ", house.post()[:-9], house.post()[:40]][number % 4])
    async with asyncio.timeout(HANG_S):
        for _ in range(20):
            assert (await house.talk(house.post() + LAST)).statuses == [200, 200]
    for client in slow:
        await client.hear()
        client.close()


async def _while_dripping(client: Client, start: bytes, drop: bytes) -> list[int]:
    async def drops() -> AsyncIterator[bytes]:
        yield start
        while True:
            await asyncio.sleep(0.1)
            yield drop

    async def drip() -> None:
        try:
            async for piece in drops():
                await client.send(piece)
        except OSError:
            return

    dripping = asyncio.ensure_future(drip())
    try:
        return (await client.hear()).statuses
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        client.close()
