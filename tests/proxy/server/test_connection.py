"""Raw sockets against the gateway: heads, bodies and readers that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import http_parser

from tests.gateway import RunningGateway, one_provider, running, settings_of
from tests.upstream.script import Flood, chunked, head, raw, whole
from tests.upstream.server import Upstream

ASK = orjson.dumps({"model": "scripted-llm", "messages": [{"role": "user", "content": "Hello"}]})
ANSWER = orjson.dumps(
    {
        "choices": [{"message": {"content": "Hi"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
DONE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    """Short limits, so that a test can wait for them."""
    providers, llms = one_provider(upstream.base_url)
    settings = settings_of(
        tmp_path, database_url, redis_url, providers, llms,
        server={"header_timeout_s": 0.5, "body_timeout_s": 0.5, "write_timeout_s": 1.0, "shutdown_grace_s": 1.0}, upstream={"drain_s": 5.0},
    )  # fmt: skip
    async with running(settings) as up:
        yield up


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, gateway: RunningGateway) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]), limit=1 << 20))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body by content-length."""
        status = int((await self.reader.readline()).split()[1])
        headers = {}
        while (line := await self.reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def closed(self) -> bytes:
        """What was still sent, once the server has closed."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5)
        except ConnectionResetError:
            return b""


def request(
    gateway: RunningGateway, body: bytes = ASK, *, extra: bytes = b"", version: bytes = b"1.1", key: str | None = None
) -> bytes:
    return b"POST /v1/chat/completions HTTP/%b\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        version, (key or gateway.key).encode(), extra, len(body), body)  # fmt: skip


@pytest.mark.parametrize(
    "start", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "half a head"]
)
async def test_a_head_that_does_not_come_is_cut(gateway: RunningGateway, start: bytes) -> None:
    client = await Client.connect(gateway)
    client.send(start)
    assert await client.closed() == b""


async def test_a_dripping_head_is_cut(gateway: RunningGateway) -> None:
    client = await Client.connect(gateway)

    async def drip() -> None:
        client.send(b"GET / HTTP/1.1\r\nX-Drip: ")
        while not client.writer.is_closing():
            client.send(b"X")
            await asyncio.sleep(0.1)

    dripping = asyncio.ensure_future(drip())
    assert await client.closed() == b""
    dripping.cancel()


async def test_a_body_that_does_not_come(gateway: RunningGateway) -> None:
    client = await Client.connect(gateway)
    client.send(request(gateway)[:-5])
    status, _, body = await client.answer()
    assert (status, orjson.loads(body)["error"]["code"]) == (408, "request_timeout")


async def test_keep_alive_and_pipelining(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(ANSWER), whole(ANSWER))
    client = await Client.connect(gateway)
    client.send(request(gateway) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + request(gateway))
    first, second, third = await client.answer(), await client.answer(), await client.answer()
    assert first[2] == third[2] == ANSWER
    assert orjson.loads(second[2])["status"] == "ok"
    await asyncio.sleep(1.5)  # idle for longer than a head may take
    upstream.expect(whole(ANSWER))
    client.send(request(gateway))
    assert (await client.answer())[2] == ANSWER
    await gateway.rows(3)


async def test_http_1_0_gets_no_chunks(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(chunked([DONE]))
    client = await Client.connect(gateway)
    body = orjson.dumps({**orjson.loads(ASK), "stream": True, "stream_options": {"include_usage": True}})
    client.send(request(gateway, body, version=b"1.0"))
    received = await client.closed()
    assert received.endswith(b"\r\n\r\n" + DONE)
    assert b"transfer-encoding" not in received.lower()
    await gateway.rows(1)


async def test_expect_100_continue(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(ANSWER))
    client = await Client.connect(gateway)
    head_only, _, body = request(gateway, extra=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client.send(head_only + b"\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)
    assert (await client.answer())[2] == ANSWER
    await gateway.rows(1)


CANARY = b"sk-syn-canary-in-a-head"
MALFORMED = {
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer " + CANARY + b"\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n " + CANARY + b"\r\n\r\n",
    "bare LF in a value": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + CANARY + b"\nX: y\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + CANARY + b"\0\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "chunked, identity": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    "huge header": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + CANARY + b"a" * 20000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(200)) + b"\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + CANARY + b"\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_heads_are_refused_and_echoed_nowhere(
    gateway: RunningGateway, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await Client.connect(gateway)
    client.send(data)
    received = await client.closed()
    status, _, rest = received.partition(b"\r\n")
    assert status.split()[1] in (b"400", b"431", b"505"), received[:200]
    assert orjson.loads(rest.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert CANARY not in received
    assert CANARY.decode() not in caplog.text


async def test_two_authorization_headers(gateway: RunningGateway) -> None:
    client = await Client.connect(gateway)
    client.send(request(gateway, extra=b"Authorization: Bearer " + gateway.key.encode() + b"\r\n"))
    status, _, body = await client.answer()
    assert (status, orjson.loads(body)["error"]["code"]) == (400, "conflicting_keys")


async def test_a_reader_that_takes_nothing_is_gone_and_memory_stays_bounded(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    """200 MB are offered; a client that does not read gets what its socket buffers hold, and its usage is still counted."""
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1000 + b'"}}]}\n\n'
    block = b"%x\r\n%b\r\n" % (len(frame) * 64, frame * 64)
    opening = head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
    upstream.expect(raw(opening, Flood(block, 200 * 1024 * 1024)))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", int(gateway.url.rpartition(":")[2])))
    await loop.sock_sendall(sock, request(gateway, orjson.dumps({**orjson.loads(ASK), "stream": True})))
    (row,) = await gateway.rows(1, timeout_s=20)
    assert row["outcome"] == "client_abort"
    sock.close()


async def test_a_slow_reader_that_reads_gets_everything(gateway: RunningGateway, upstream: Upstream) -> None:
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 1000 + b'"}}]}\n\n'
    upstream.expect(chunked([frame * 16] * 200 + [DONE]))
    client = await Client.connect(gateway)
    body = orjson.dumps({**orjson.loads(ASK), "stream": True, "stream_options": {"include_usage": True}})
    client.send(request(gateway, body, extra=b"Connection: close\r\n"))
    size = 0
    while part := await client.reader.read(65536):
        size += len(part)
        await asyncio.sleep(0.02)
    assert size > 3_200_000
    (row,) = await gateway.rows(1)
    assert row["outcome"] == "ok"


async def test_a_client_that_leaves_before_its_request_is_read_is_no_bug(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """As those do that waited in the queue of a gateway that died."""
    api = b"POST /api/v1/workspaces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: 9\r\n\r\n{}"
    for data in (request(gateway), request(gateway)[:-5], api % gateway.admin_key.encode()):
        sock = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
        sock.sendall(data)
        sock.close()
    await asyncio.sleep(0.5)
    assert (await gateway.session.get(gateway.url + "/health/live")).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text


def test_the_c_parser_and_the_floor_of_aiohttp() -> None:
    """CVE-2026-69244 and others: fixed in 3.14.3; the Python parser is slower and less strict."""
    assert tuple(int(part) for part in aiohttp.__version__.split(".")[:3]) >= (3, 14, 3)
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


async def test_a_refusal_before_the_body_came_closes_the_connection(gateway: RunningGateway) -> None:
    """Its body was announced and will not come: what comes instead must not be taken for it."""
    client = await Client.connect(gateway)
    start, _, _ = request(gateway, extra=b"Expect: 100-continue\r\n", key="sk-syn-" + "x" * 46).partition(b"\r\n\r\n")
    client.send(start + b"\r\n\r\n")
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (401, "close")
    assert await client.closed() == b""
