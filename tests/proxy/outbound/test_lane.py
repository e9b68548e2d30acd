"""The pool of connections: reuse, bounds, deadlines, and what may be tried again."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator

import pytest

from proxy.outbound.dial import SockAddr
from proxy.outbound.lane import LaneLimits
from proxy.outbound.pool import Pool
from proxy.outbound.sink import Broken
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from tests.proxy.outbound.sinks import Collected, HandTicker, LoopErrors, call, until
from tests.upstream.script import Close, Hold, Script, Silence, Step, Wait, raw, whole
from tests.upstream.server import Recorded, Upstream


async def test_calls_one_after_the_other_share_a_connection(upstream: Upstream, outbound: Pool) -> None:
    upstream.always(whole(b"ok"))
    for _ in range(20):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None
    assert upstream.connections == 1 and len(upstream.requests) == 20


async def test_the_last_used_is_the_next_used(upstream: Upstream, outbound: Pool) -> None:
    """So that a burst's connections age out instead of all being kept warm."""
    together = asyncio.Event()
    upstream.always(raw(Hold(together), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
    burst = [call(outbound, upstream) for _ in range(5)]
    await until(lambda: len(upstream.requests) == 5)
    together.set()
    for sink, _ in burst:
        assert await sink.ended is None
    assert outbound.state() == (0, 5, 5, 0)
    for _ in range(4):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None
    assert len({request.connection for request in upstream.requests[5:]}) == 1


async def test_connection_close_is_honoured(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(whole(b"a", headers=[("connection", "close")]), whole(b"b"))
    for body in (b"a", b"b"):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None and sink.body == body
    assert [request.connection for request in upstream.requests] == [1, 2]


async def test_closed_while_idle_is_not_used(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", Close()), whole(b"b"))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None
    await until(lambda: outbound.state().connections == 0)
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and sink.body == b"b"


async def test_an_end_that_still_lies_in_the_kernel_is_seen_before_writing(upstream: Upstream, ticker: Ticker) -> None:
    """The loop was busy, the provider closed the idle line meanwhile: written now, the request would be lost."""
    server = socket.create_server(("127.0.0.1", 0))
    pool = Pool(ticker, client_context())
    upstream.port, own = server.getsockname()[1], upstream.port
    loop = asyncio.get_running_loop()
    sink, _ = call(pool, upstream)
    server.setblocking(False)
    peer, _ = await loop.sock_accept(server)
    peer.setblocking(False)
    await loop.sock_recv(peer, 65536)
    await loop.sock_sendall(peer, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na")
    assert await sink.ended is None
    await until(lambda: rested(pool))
    peer.close()  # from here to the call the loop does not run
    sink, running = call(pool, upstream)
    assert not running.bytes_written
    second, _ = await loop.sock_accept(server)
    second.setblocking(False)
    await loop.sock_recv(second, 65536)
    await loop.sock_sendall(second, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb")
    assert await sink.ended is None and sink.body == b"b"
    second.close()
    server.close()
    upstream.port = own
    await pool.close()


def rested(pool: Pool) -> bool:
    return all(connection.idle_since is not None for lane in pool._lanes.values() for connection in lane.idle)


async def test_a_request_that_died_unanswered_is_never_sent_again(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(whole(b"a"), raw(Close()))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None
    sink, running = call(outbound, upstream)
    assert await sink.ended is Broken.RESET and running.bytes_written
    assert len(upstream.requests) == 2


async def test_the_idle_limit(upstream: Upstream, by_hand: tuple[Pool, HandTicker]) -> None:
    pool, ticker = by_hand
    upstream.always(whole(b"ok"))
    for _ in range(2):
        sink, _ = call(pool, upstream)
        assert await sink.ended is None
        ticker.advance(1)
        ticker.advance(29)
        assert pool.state().idle == 1
    assert upstream.connections == 1
    ticker.advance(2)
    await until(lambda: pool.state().connections == 0)
    ticker.advance(1)
    assert not pool._lanes  # nothing stays behind for an origin that is not used


async def test_more_calls_than_connections_wait_their_turn(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=3))
    upstream.always(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", Wait(0.001), b"a"))
    calls = [call(pool, upstream, body=b'{"n":%d}' % number) for number in range(30)]
    assert pool.state().waiting == 30
    for sink, _ in calls:
        assert await sink.ended is None
    assert upstream.connections == 3 and len(upstream.requests) == 30
    assert [request.json()["n"] for request in upstream.requests[:3]] == [0, 1, 2]
    await pool.close()


async def test_too_many_waiting_is_overloaded(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=2, max_waiting=3))
    answer = asyncio.Event()
    upstream.always(raw(b"HTTP/1.1 200 OK\r\n", Hold(answer), b"content-length: 0\r\n\r\n"))
    calls = [call(pool, upstream) for _ in range(2)]
    await until(lambda: len(upstream.requests) == 2)
    calls += [call(pool, upstream) for _ in range(3)]
    refused, running = call(pool, upstream)
    assert not refused.ended.done()  # never from inside the call
    assert await refused.ended is Broken.OVERLOADED and not running.bytes_written
    answer.set()
    for sink, _ in calls:
        assert await sink.ended is None
    await pool.close()


async def test_waiting_too_long_for_a_connection_is_overloaded(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=1))
    upstream.always(raw(Silence()))
    first, running = call(pool, upstream)
    await until(lambda: len(upstream.requests) == 1)
    second, _ = call(pool, upstream, connect_timeout_s=0.05)
    assert await second.ended is Broken.OVERLOADED
    assert not first.ended.done()
    running.cancel()
    await pool.close()


async def test_a_call_cancelled_while_waiting_is_never_sent(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=1))
    upstream.always(whole(b"ok"))
    first, _ = call(pool, upstream)
    gone, running = call(pool, upstream, body=b"cancelled")
    last, _ = call(pool, upstream, body=b"last")
    running.cancel()
    assert await first.ended is None and await last.ended is None
    assert [request.body for request in upstream.requests] == [b"{}", b"last"] and not gone.ended.done()
    await pool.close()


async def test_cancel_while_dialling_keeps_the_connection_for_the_next(upstream: Upstream, outbound: Pool) -> None:
    upstream.always(whole(b"ok"))
    _, running = call(outbound, upstream)
    running.cancel()
    await until(lambda: outbound.state().idle == 1)
    assert not upstream.requests
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and upstream.connections == 1


async def test_a_cancelled_call_gives_its_place_to_the_next(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=1))
    upstream.expect(raw(Silence()), whole(b"ok"))
    _, stuck = call(pool, upstream)
    await until(lambda: len(upstream.requests) == 1)
    sink, _ = call(pool, upstream)
    stuck.cancel()
    assert await sink.ended is None and upstream.connections == 2
    await pool.close()


@pytest.fixture
async def by_hand(loop_errors: LoopErrors) -> AsyncIterator[tuple[Pool, HandTicker]]:
    ticker = HandTicker()
    pool = Pool(ticker, client_context())
    yield pool, ticker
    await pool.close()


@pytest.mark.parametrize("sent", ["nothing", "interim", "head", "body"])
async def test_silence_is_told_apart_by_when_it_begins(
    upstream: Upstream, by_hand: tuple[Pool, HandTicker], sent: str
) -> None:
    pool, ticker = by_hand
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
    parts = {"interim": b"HTTP/1.1 100 Continue\r\n\r\n", "head": head, "body": head + b"a"}
    upstream.expect(raw(parts[sent], Silence()) if sent in parts else raw(Silence()))
    sink, running = call(pool, upstream, first_byte_timeout_s=600, idle_timeout_s=300)
    await until(lambda: bool(upstream.requests) and running.answered == (sent != "nothing"))
    ticker.advance(1)
    ticker.advance(299)
    assert not sink.ended.done()
    ticker.advance(200)
    if sent == "nothing":
        assert not sink.ended.done()
        ticker.advance(102)
        assert await sink.ended is Broken.TIMEOUT_FIRST_BYTE
    else:
        assert await sink.ended is Broken.TIMEOUT_IDLE
    assert running.bytes_written and running.detail
    await upstream.requests[0].left.wait()


async def test_a_slow_stream_is_not_silent(upstream: Upstream, by_hand: tuple[Pool, HandTicker]) -> None:
    pool, ticker = by_hand
    turns = [asyncio.Event() for _ in range(10)]
    steps: list[bytes | Step] = [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"]
    for turn in turns:
        steps += [Hold(turn), b"a"]
    upstream.expect(raw(*steps))
    sink, _ = call(pool, upstream, idle_timeout_s=300, first_byte_timeout_s=300)
    await sink.started.wait()
    for count, turn in enumerate(turns, start=1):
        ticker.advance(1)
        ticker.advance(299)
        turn.set()
        await until(lambda count=count: len(sink.body) == count)  # type: ignore[misc]
    assert await sink.ended is None


async def test_a_paused_call_does_not_time_out(upstream: Upstream, by_hand: tuple[Pool, HandTicker]) -> None:
    pool, ticker = by_hand
    more = asyncio.Event()
    upstream.expect(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", Hold(more), b"b"))
    sink, running = call(pool, upstream, idle_timeout_s=30)
    await sink.started.wait()
    running.pause()
    for _ in range(10):
        ticker.advance(100)
    assert not sink.ended.done()
    running.resume()
    ticker.advance(100)  # listening counts from here
    assert not sink.ended.done()
    more.set()
    assert await sink.ended is None and sink.body == b"ab"


async def test_paused_before_it_is_connected(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(whole(b"abc"))
    sink, running = call(outbound, upstream)
    running.pause()
    await until(lambda: bool(upstream.requests))
    await asyncio.sleep(0.02)
    assert sink.status is None
    running.resume()
    assert await sink.ended is None


async def test_a_paused_call_that_completes_leaves_a_watched_connection(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", Wait(0.05), Close()))
    sink, running = call(outbound, upstream)
    sink.on_piece = lambda piece: running.pause()
    assert await sink.ended is None and outbound.state().idle == 1
    await until(lambda: outbound.state().connections == 0)  # its close is noticed


async def test_a_server_that_closes_new_connections(outbound: Pool, upstream: Upstream) -> None:
    """However its close is met, before or after our writing, a call ends and nothing is counted twice."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    upstream.port, own = server.sockets[0].getsockname()[1], upstream.port
    for sink, running in [call(outbound, upstream) for _ in range(20)]:
        reason = await sink.ended
        assert (reason, running.bytes_written) in ((Broken.RESET, True), (Broken.UNREACHABLE, False))
    await until(lambda: outbound.state() == (0, 0, 0, 0))
    upstream.port = own
    server.close()


async def test_an_origin_that_refuses_fails_each_call_of_a_burst(outbound: Pool, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        upstream.port, own = unused.getsockname()[1], upstream.port
    for sink, running in [call(outbound, upstream) for _ in range(50)]:
        assert await sink.ended is Broken.UNREACHABLE
        assert not running.bytes_written and "refused" in running.detail
    assert outbound.state() == (0, 0, 0, 0)
    upstream.port = own


async def test_refused_one_by_one_where_one_connection_is_allowed(ticker: Ticker, upstream: Upstream) -> None:
    dialled: list[SockAddr] = []

    def veto(address: SockAddr) -> bool:
        dialled.append(address)
        return True

    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=1), veto=veto)
    for sink, _ in [call(pool, upstream) for _ in range(5)]:
        assert await sink.ended is Broken.FORBIDDEN
    await asyncio.sleep(0.01)
    assert len(dialled) == 5  # and no dial for a call that has failed
    await pool.close()


async def test_closing_the_pool_ends_everything(upstream: Upstream, ticker: Ticker, loop_errors: LoopErrors) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=2))
    upstream.always(lambda request: whole(b"ok") if request.body == b"idle" else raw(Silence()))
    idle, _ = call(pool, upstream, body=b"idle")
    assert await idle.ended is None
    calls = [call(pool, upstream) for _ in range(4)]
    await until(lambda: len(upstream.requests) == 3)
    await pool.close()
    for sink, _ in calls:
        assert await sink.ended is Broken.RESET
    late, _ = call(pool, upstream)
    assert await late.ended is Broken.OVERLOADED
    await until(lambda: not upstream.lines)
    assert pool.state().connections == 0


async def test_a_burst_of_many_kinds_leaves_nothing_behind(upstream: Upstream, ticker: Ticker) -> None:
    pool = Pool(ticker, client_context(), limits=LaneLimits(max_connections=8, max_waiting=400))

    def answer(request: Recorded) -> Script:
        number = request.json()["n"]
        return (
            whole(b"ok"), raw(Close()), whole(b"x" * 9000, piece=1000), raw(b"garbage\r\n\r\n"),
            raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", Close()),
        )[number % 5]  # fmt: skip

    upstream.always(answer)
    calls = [call(pool, upstream, body=b'{"n":%d}' % number) for number in range(300)]
    for number, (_, running) in enumerate(calls):
        if number % 7 == 0:
            running.cancel()
    for number, (sink, _) in enumerate(calls):
        if number % 7:
            await asyncio.wait_for(sink.ended, 20)
    await until(lambda: pool.state()[0] == 0 and pool.state().idle == pool.state().connections)
    assert pool.state().connections <= 8
    assert len({request.json()["n"] for request in upstream.requests}) == len(upstream.requests)
    await pool.close()


async def test_the_parser_does_not_keep_a_lost_connection(upstream: Upstream, outbound: Pool) -> None:
    """httptools holds our bound methods: without cutting the cycle each connection waits for the garbage collector."""
    upstream.expect(whole(b"ok"))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None
    (connection,) = next(iter(outbound._lanes.values())).idle
    remembered = weakref.ref(connection)
    gc.collect()
    gc.disable()
    try:
        connection.close()
        del connection
        await until(lambda: not outbound.state().connections)
        for _ in range(10):
            await asyncio.sleep(0)
        assert remembered() is None
    finally:
        gc.enable()


def test_the_sink_of_tests_complains_about_a_second_end() -> None:
    async def twice() -> None:
        sink = Collected()
        sink.on_broken(Broken.RESET)
        with pytest.raises(asyncio.InvalidStateError):
            sink.on_broken(Broken.RESET)

    asyncio.run(twice())
