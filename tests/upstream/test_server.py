"""The scripted upstream itself: it must be right before anything is proved with it."""

from __future__ import annotations

import asyncio

import pytest

from tests.upstream.script import Close, Hold, Send, chunked, raw, whole
from tests.upstream.server import Upstream
from tests.upstream.simulate import simulated


async def ask(upstream: Upstream, request: bytes, *, half_close: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(request)
    if half_close:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


async def test_answers_in_order_and_records(upstream: Upstream) -> None:
    upstream.expect(whole(b"one"), raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo", Close(), piece=1))
    answer = await ask(upstream, post(b'{"a":1}') + post(b"second"), half_close=False)
    assert answer.endswith(b"one" + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo")
    assert [(call.method, call.path, call.body, call.connection) for call in upstream.requests] == [
        ("POST", "/v1/chat/completions", b'{"a":1}', 1),
        ("POST", "/v1/chat/completions", b"second", 1),
    ]
    assert upstream.requests[0].json() == {"a": 1}


async def test_an_unexpected_call_fails() -> None:
    async with Upstream() as upstream:
        assert b"500" in await ask(upstream, post(b"{}") + post(b"{}").replace(b"host", b"connection: close\r\nhost"))
    with pytest.raises(AssertionError, match="without an answer"):
        upstream.verify()


async def test_an_expected_call_that_never_comes_fails() -> None:
    async with Upstream() as upstream:
        upstream.expect(whole(b""))
    with pytest.raises(AssertionError, match="never came"):
        upstream.verify()


async def test_the_account_counts_what_was_sent_when_the_caller_leaves(upstream: Upstream) -> None:
    held = asyncio.Event()
    script = chunked([], tail=[Send(b"1\r\na\r\n", tokens=3)])
    script.steps.append(Hold(held))
    script.steps.append(Send(b"1\r\nb\r\n", tokens=4))
    script.prompt_tokens = 5
    upstream.expect(script)
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(post(b"{}"))
    await reader.readuntil(b"a\r\n")
    writer.close()
    await upstream.requests[0].left.wait()
    entry = upstream.account.entries[0]
    assert (entry.prompt_tokens, entry.completion_tokens, entry.complete, entry.left) == (5, 3, False, True)


async def test_the_simulated_llm_counts_and_streams(upstream: Upstream) -> None:
    upstream.always(simulated)
    body = b'{"model":"sim:chunks=3,prompt=7","stream":true,"stream_options":{"include_usage":true},"user":"u1"}'
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(post(body) + post(b'{"model":"sim:status=429"}'))
    stream = await reader.readuntil(b"0\r\n\r\n")
    assert stream.count(b"data: ") == 1 + 3 + 1 + 1 + 1 and b'"prompt_tokens":7,"completion_tokens":3' in stream
    assert b" 429 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert upstream.account.entries[0].user == "u1"
    assert upstream.account.completion_tokens == 3
