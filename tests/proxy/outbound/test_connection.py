"""Raw bytes through real sockets: what a response may look like, and what it may not."""

from __future__ import annotations

import asyncio

import pytest

from proxy.outbound.pool import Pool
from proxy.outbound.sink import Broken
from tests.proxy.outbound.sinks import LoopErrors, call, until
from tests.upstream.script import Close, Flood, Hold, Reset, Send, Silence, chunked, raw, until_close, whole
from tests.upstream.server import Upstream

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("piece", [None, 1, 3, 7])
async def test_a_body_with_its_length(upstream: Upstream, outbound: Pool, piece: int | None) -> None:
    upstream.expect(whole(b"x" * 500, headers=[("X-Upper", "Value"), ("x-empty", "")], piece=piece))
    sink, running = call(outbound, upstream, body=b'{"a":1}')
    assert await sink.ended is None
    assert (sink.status, sink.body, running.bytes_written) == (200, b"x" * 500, True)
    assert sink.headers == [(b"x-upper", b"Value"), (b"x-empty", b""), (b"content-length", b"500")]
    assert upstream.requests[0].body == b'{"a":1}' and upstream.requests[0].header("accept-encoding") == "identity"


@pytest.mark.parametrize("piece", [None, 1])
async def test_chunks_arrive_joined_and_trailers_do_not(upstream: Upstream, outbound: Pool, piece: int | None) -> None:
    parts = [b"data: %d\n\n" % number for number in range(40)]
    upstream.expect(chunked(parts, piece=piece, tail=[Send(b"0\r\nx-trailer: 1\r\n\r\n")]))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None
    assert sink.body == b"".join(parts) and len(sink.headers) == 2
    if piece is None:
        assert len(sink.pieces) == 1  # one call per read, not per chunk
    assert outbound.state().idle == 1


async def test_a_body_that_ends_with_its_connection(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(until_close([b"all", b" of it"]), until_close([b"old"], version="1.0"))
    for expected in (b"all of it", b"old"):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None and sink.body == expected
        assert outbound.state().connections == 0


async def test_http_1_0_with_a_length_is_not_reused(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(raw(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), whole(b"second"))
    for expected in (b"ok", b"second"):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None and sink.body == expected
    assert [request.connection for request in upstream.requests] == [1, 2]


@pytest.mark.parametrize("piece", [None, 1])
async def test_interim_responses_are_skipped(upstream: Upstream, outbound: Pool, piece: int | None) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\ntransfer-encoding: gzip\r\n\r\n"
    upstream.expect(raw(interim + OK + b"content-length: 2\r\n\r\nok", piece=piece), whole(b"again"))
    for expected in (b"ok", b"again"):
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None and (sink.status, sink.body) == (200, expected)
        assert not any(name == b"link" for name, _ in sink.headers)
    assert upstream.connections == 1


async def test_no_content(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), whole(b"next"))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and (sink.status, sink.body) == (204, b"")
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and upstream.connections == 1


@pytest.mark.parametrize(
    "response",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\nx: y\n\n",
        OK + b"x: a\r\n folded\r\ncontent-length: 0\r\n\r\n",
        OK + b"x: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n",
        OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
        OK + b"x y: a\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
        OK + b"content-length: 1, 2\r\n\r\nok",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\nok",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        OK + b"".join(b"x-%d: y\r\n" % number for number in range(257)) + b"content-length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("piece", [None, 1])
async def test_what_is_not_http_is_malformed(
    upstream: Upstream, outbound: Pool, response: bytes, piece: int | None
) -> None:
    upstream.expect(raw(response, Silence(), piece=piece))
    sink, running = call(outbound, upstream)
    assert await sink.ended is Broken.MALFORMED
    assert sink.status is None and running.bytes_written and running.detail
    assert outbound.state().connections == 0


@pytest.mark.parametrize("size", [b"zz", b"-1", b"1 ", b"fffffffffffffffffff", b"0x2"])
async def test_a_malformed_chunk_after_good_ones(upstream: Upstream, outbound: Pool, size: bytes) -> None:
    upstream.expect(raw(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + size + b"\r\nno\r\n", Silence()))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is Broken.MALFORMED
    assert (sink.status, sink.body) == (200, b"ok")


@pytest.mark.parametrize(
    "endless",
    [
        OK + b"x-long: " + b"a" * 100_000,
        OK + b"x-a: b\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
        OK + b"transfer-encoding: chunked\r\n\r\n2;ext=" + b"a" * 200_000,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx-trailer: " + b"a" * 200_000,
    ],
)
async def test_a_head_or_trailer_without_end(upstream: Upstream, outbound: Pool, endless: bytes) -> None:
    upstream.expect(raw(endless, Silence()))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is Broken.MALFORMED


async def test_a_head_of_60_kib_is_read_in_one_read_with_its_body(upstream: Upstream, outbound: Pool) -> None:
    large = b"x: " + b"a" * 60_000 + b"\r\n"
    upstream.expect(raw(OK + large + b"content-length: 200000\r\n\r\n" + b"b" * 200_000))
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and len(sink.body) == 200_000


@pytest.mark.parametrize("framing", [b"content-length: 10\r\n", b"transfer-encoding: chunked\r\n"])
async def test_closed_in_the_middle_is_an_early_close(upstream: Upstream, outbound: Pool, framing: bytes) -> None:
    upstream.expect(raw(OK + framing + b"\r\n5\r\nabcde\r\n"[: 20 if b"chunked" in framing else 5], Close()))
    sink, running = call(outbound, upstream)
    assert await sink.ended is Broken.EARLY_CLOSE
    assert sink.status == 200 and sink.body and running.bytes_written


async def test_reset_in_the_middle(upstream: Upstream, outbound: Pool) -> None:
    read = asyncio.Event()
    upstream.expect(raw(OK + b"content-length: 10\r\n\r\nabc", Hold(read), Reset()))
    sink, _ = call(outbound, upstream)
    sink.on_piece = lambda piece: read.set()
    assert await sink.ended is Broken.RESET and sink.body == b"abc"


async def test_reset_in_a_body_until_close_is_not_its_end(upstream: Upstream, outbound: Pool) -> None:
    read = asyncio.Event()
    upstream.expect(raw(OK + b"\r\nabc", Hold(read), Reset()))
    sink, _ = call(outbound, upstream)
    sink.on_piece = lambda piece: read.set()
    assert await sink.ended is Broken.RESET and sink.body == b"abc"


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200", OK + b"x: y\r\n"])
async def test_closed_before_the_head_is_a_reset_of_a_written_request(
    upstream: Upstream, outbound: Pool, part: bytes
) -> None:
    upstream.expect(raw(part, Close()) if part else raw(Close()))
    sink, running = call(outbound, upstream)
    assert await sink.ended is Broken.RESET
    assert sink.status is None and running.bytes_written
    assert len(upstream.requests) == 1  # nobody sent it a second time


async def test_bytes_behind_a_response_belong_to_nobody(upstream: Upstream, outbound: Pool) -> None:
    """A response that was not asked for must not answer the next request."""
    smuggled = OK + b"content-length: 4\r\n\r\nevil"
    for excess in (smuggled, smuggled[:20], b"X", b"\0"):
        upstream.expect(raw(OK + b"content-length: 2\r\n\r\nok" + excess))
        sink, _ = call(outbound, upstream)
        assert await sink.ended is None and sink.body == b"ok"
        assert outbound.state().idle == 0


async def test_a_byte_while_idle_closes_the_connection(upstream: Upstream, outbound: Pool) -> None:
    late = asyncio.Event()
    upstream.expect(
        raw(OK + b"content-length: 2\r\n\r\nok", Hold(late), OK + b"content-length: 4\r\n\r\nevil"), whole(b"good")
    )
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and outbound.state().idle == 1
    late.set()
    await until(lambda: not outbound.state().connections)
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and sink.body == b"good"


async def test_an_answer_before_the_request_was_taken_ends_the_connection(upstream: Upstream, outbound: Pool) -> None:
    """413 while megabytes are still to be written: what follows on that line would be read as their rest."""
    server = await asyncio.start_server(early_refusal, "127.0.0.1", 0)
    upstream.port, port = server.sockets[0].getsockname()[1], upstream.port
    sink, _ = call(outbound, upstream, body=b"a" * 20_000_000)
    assert await sink.ended is None and sink.status == 413
    assert outbound.state().idle == 0
    upstream.port = port
    server.close()


async def early_refusal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    while await reader.read(65536):
        pass
    writer.close()


async def test_pause_holds_the_upstream_and_resume_lets_it_go(upstream: Upstream, outbound: Pool) -> None:
    total = 64 * 1024 * 1024
    block = b"b" * 65536
    upstream.expect(raw(OK + b"content-length: %d\r\n\r\n" % total, Flood(block, total)))
    sink, running = call(outbound, upstream)
    received = 0

    def count(piece: bytes) -> None:
        nonlocal received
        received += len(piece)
        sink.pieces.clear()

    sink.on_piece = count
    await sink.started.wait()
    running.pause()
    before = received
    await asyncio.sleep(0.1)
    assert received - before <= 2 * 256 * 1024 and received < total // 4
    running.resume()
    assert await sink.ended is None and received == total
    assert outbound.state().idle == 1


async def test_cancel_ends_it_at_the_upstream_and_says_nothing(upstream: Upstream, outbound: Pool) -> None:
    upstream.expect(raw(OK + b"content-length: 10\r\n\r\nabc", Silence()))
    sink, running = call(outbound, upstream)
    await sink.started.wait()
    running.cancel()
    running.cancel()
    running.pause()
    running.resume()
    await upstream.requests[0].left.wait()
    assert not sink.ended.done() and outbound.state() == (0, 0, 0, 0)


@pytest.mark.parametrize("where", ["on_head", "on_body"])
async def test_cancel_from_inside_the_sink(upstream: Upstream, outbound: Pool, where: str) -> None:
    upstream.expect(whole(b"abc"))
    sink, running = call(outbound, upstream)
    seen: list[str] = []

    def leave(*args: object) -> None:
        seen.append(where)
        running.cancel()

    setattr(sink, where, leave)
    if where == "on_body":
        sink.on_head = lambda status, headers: None  # type: ignore[method-assign]
    await until(lambda: bool(seen))
    await asyncio.sleep(0.01)
    assert seen == [where] and not sink.ended.done() and outbound.state().connections == 0


async def test_a_bug_in_a_sink_ends_its_call_only(upstream: Upstream, outbound: Pool, loop_errors: LoopErrors) -> None:
    upstream.expect(whole(b"abc"), whole(b"fine"))
    sink, _ = call(outbound, upstream)

    def bug(piece: bytes) -> None:
        raise RuntimeError("bug in a sink")

    sink.on_piece = bug
    assert await sink.ended is Broken.RESET
    sink, _ = call(outbound, upstream)
    assert await sink.ended is None and sink.body == b"fine"
    assert [type(error["exception"]) for error in loop_errors.seen] == [RuntimeError]
    loop_errors.seen.clear()
