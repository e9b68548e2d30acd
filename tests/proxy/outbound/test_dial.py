"""Reaching an origin: names, vetoes, certificates, time."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from proxy.outbound.dial import SockAddr
from proxy.outbound.origin import Origin
from proxy.outbound.pool import Pool
from proxy.outbound.sink import Broken
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from tests.proxy.outbound.sinks import Collected, call
from tests.upstream import certificate
from tests.upstream.script import chunked, whole
from tests.upstream.server import Upstream


async def test_the_veto_sees_the_address_and_not_the_name(upstream: Upstream, ticker: Ticker) -> None:
    seen: list[SockAddr] = []

    def veto(address: SockAddr) -> bool:
        seen.append(address)
        return True

    pool = Pool(ticker, client_context(), veto=veto)
    for host in ("localhost", "127.0.0.1", "0x7f000001", "2130706433"):
        sink, running = call(pool, upstream, host=host)
        assert await sink.ended is Broken.FORBIDDEN and not running.bytes_written
    assert {address[0] for address in seen} <= {"127.0.0.1", "::1"} and len(seen) >= 4
    assert upstream.connections == 0
    await pool.close()


async def test_a_name_with_a_dead_address_goes_on_to_the_next(
    upstream: Upstream, outbound: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def two(host: str, port: int, **options: int) -> list[tuple[Any, ...]]:
        # the scripted upstream listens on the second only
        hosts = ("127.0.0.99", "127.0.0.1") if host == "two.example" else (host,)
        return [(await resolve(address, port, **options))[0] for address in hosts]

    monkeypatch.setattr(loop, "getaddrinfo", two)
    upstream.expect(whole(b"ok"))
    sink, running = call(outbound, upstream, host="two.example")
    assert await sink.ended is None, running.detail


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".example", "127.0.0.1.256"])
async def test_a_name_that_leads_nowhere(upstream: Upstream, outbound: Pool, host: str) -> None:
    sink, running = call(outbound, upstream, host=host)
    assert await sink.ended is Broken.UNREACHABLE
    assert not running.bytes_written and running.detail.startswith(host)


async def test_a_listener_that_never_accepts_is_a_connect_timeout(outbound: Pool) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    blockers = [socket.socket() for _ in range(4)]
    for blocker in blockers:
        blocker.setblocking(False)
        blocker.connect_ex(full.getsockname())
    sink = Collected()
    origin = Origin("http", "127.0.0.1", full.getsockname()[1])
    running = outbound.call(origin, b"x", sink, connect_timeout_s=0.1, idle_timeout_s=5)
    assert await sink.ended is Broken.TIMEOUT_CONNECT and not running.bytes_written
    for open_socket in (full, *blockers):
        open_socket.close()


async def test_a_handshake_that_stalls_is_a_connect_timeout(outbound: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = Collected()
        origin = Origin("https", "127.0.0.1", silent.getsockname()[1])
        running = outbound.call(origin, b"x", sink, connect_timeout_s=0.1, idle_timeout_s=5)
        assert await sink.ended is Broken.TIMEOUT_CONNECT and not running.bytes_written


async def test_plain_http_on_a_tls_origin(upstream: Upstream, outbound: Pool) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    sink = Collected()
    origin = Origin("https", "127.0.0.1", server.sockets[0].getsockname()[1])
    outbound.call(origin, b"x", sink, connect_timeout_s=5, idle_timeout_s=5)
    assert await sink.ended is Broken.UNREACHABLE
    server.close()


@pytest.mark.parametrize("piece", [None, 1])
async def test_tls_with_an_authority_that_was_added(tls_upstream: Upstream, ticker: Ticker, piece: int | None) -> None:
    assert tls_upstream.ca_file is not None
    pool = Pool(ticker, client_context(Path(tls_upstream.ca_file)))
    parts = [b"data: %d\n\n" % number for number in range(100)]
    tls_upstream.expect(chunked(parts, piece=piece), whole(b"z" * 3_000_000), whole(b"by name"))
    for body in (b"".join(parts), b"z" * 3_000_000):
        sink, _ = call(pool, tls_upstream, body=b"b" * 100_000)
        assert await sink.ended is None and sink.body == body
    assert tls_upstream.connections == 1
    sink, _ = call(pool, tls_upstream, host="localhost")
    assert await sink.ended is None
    await pool.close()


async def test_tls_with_an_unknown_authority_is_refused(tls_upstream: Upstream, outbound: Pool) -> None:
    sink, running = call(outbound, tls_upstream)
    assert await sink.ended is Broken.UNTRUSTED
    assert not running.bytes_written and "certificate" in running.detail and not tls_upstream.requests


async def test_tls_with_another_name_is_refused(ticker: Ticker, tmp_path: Path) -> None:
    files = certificate.make(tmp_path, names=("other.example",))
    async with Upstream(tls=certificate.server_context(*files)) as server:
        pool = Pool(ticker, client_context(files[0]))
        sink, _ = call(pool, server, host="localhost")
        assert await sink.ended is Broken.UNTRUSTED and not server.requests
        await pool.close()


def test_verification_has_no_switch() -> None:
    context = client_context()
    assert context.check_hostname and context.verify_mode.name == "CERT_REQUIRED"
    assert context.cert_store_stats()["x509_ca"] > 50
