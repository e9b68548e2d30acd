"""What a hostile or careless provider says: followed nowhere, stored nowhere, and our secrets in it reach nobody."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from tests.gateway import PROVIDER_KEY
from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, LAST, House
from tests.upstream.script import EVENT_STREAM, Close, Script, chunked, head, raw, until_close, whole
from tests.upstream.server import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = ("content-type", "application/json")
ORG = "org-Abc123456789"
FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere() -> AsyncIterator[Upstream]:
    """Another server, which must never be called."""
    async with Upstream() as other:
        yield other
    assert other.connections == 0


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize("stream", [False, True])
async def test_redirects_are_not_followed(house: House, elsewhere: Upstream, status: int, stream: bool) -> None:
    """With the prompt and the key they would go wherever the provider points (aiohttp's client forwards `x-api-key`)."""
    location = ("location", f"{elsewhere.base_url}/chat/completions?key={PROVIDER_KEY}")
    body = b"" if status == 304 else f"go to {elsewhere.base_url} with {PROVIDER_KEY}".encode()
    house.upstream.expect(
        whole(body, status=status, headers=[location, ("content-type", "text/plain"), ("refresh", "0; url=http://x")])
    )
    heard = await house.talk(house.post(ASK_STREAM if stream else ASK) + LAST)
    assert heard.statuses in ([status, 200], [502, 200])
    assert heard.answers[0].header("location") is None and heard.answers[0].header("refresh") is None
    assert PROVIDER_KEY.encode() not in heard.data
    (row,) = await house.new_rows(1)
    assert (row["outcome"], row["output_tokens"]) == ("upstream_error", 0)


async def test_cookies_are_neither_forwarded_nor_kept(house: House) -> None:
    cookies = [
        ("set-cookie", "__cf_bm=guava-canary; Path=/; HttpOnly"),
        ("set-cookie", "b=guava-canary"),
        ("set-cookie2", "c=guava-canary"),
    ]
    house.upstream.expect(
        whole(ANSWER, headers=[JSON, *cookies]), chunked([DONE], headers=[*EVENT_STREAM, *cookies]),
        whole(b'{"error":{"message":"no"}}', status=400, headers=[JSON, *cookies]), whole(ANSWER),
    )  # fmt: skip
    heard = await house.talk(house.post() + house.post(ASK_STREAM) + house.post() + house.post() + LAST)
    assert heard.statuses == [200, 200, 400, 200, 200]
    assert b"guava-canary" not in heard.data
    assert all(request.header("cookie") is None for request in house.upstream.requests)


def telling() -> dict[str, Script]:
    """A provider that says back the key it was called with, and who we are, in every place there is."""
    said = f"Incorrect API key provided: {PROVIDER_KEY}. You are in {ORG}, project proj_abc123456789."
    error = orjson.dumps(
        {
            "error": {
                "message": said,
                "type": "auth",
                "code": PROVIDER_KEY,
                "param": {"nested": [said, {PROVIDER_KEY: said}]},
            }
        }
    )
    event = b"data: " + error + b"\n\n"
    headers = [JSON, ("www-authenticate", f"Bearer {PROVIDER_KEY}"), ("openai-organization", ORG), ("x-debug", PROVIDER_KEY),
               ("x-ratelimit-limit-requests", "5"), ("via", PROVIDER_KEY), ("x-request-id", "req_up")]  # fmt: skip
    page = f"<html><body>{said}<pre>authorization: Bearer {PROVIDER_KEY}</pre></body></html>".encode()
    return {
        "JSON, 401": whole(error, status=401, headers=headers),
        "JSON, 429": whole(error, status=429, headers=headers),
        "JSON, 500": whole(error, status=500, headers=headers),
        "JSON, 200": whole(error, headers=headers),
        "torn JSON": whole(error[:-9], status=400, headers=headers),
        "escaped JSON": whole(error.replace(b"fake-", b"\\u0066ake-"), status=400, headers=headers),
        "two-fold JSON": whole(orjson.dumps({"error": {"message": error.decode()}}), status=400),
        "plain": whole(said.encode(), status=403, headers=[("content-type", "text/plain")]),
        "HTML": whole(page, status=502, headers=[("content-type", "text/html")]),
        "without a type": whole(said.encode(), status=500, headers=[]),
        "until the end": until_close([said.encode()], status=500, headers=[("content-type", "text/plain")]),
        "chunks of a byte": chunked([bytes([byte]) for byte in error], status=401, headers=[JSON]),
        "gzip": whole(gzip.compress(error), status=401, headers=[JSON, ("content-encoding", "gzip")]),
        "deflate": whole(b"x\x9c" + error, status=500, headers=[JSON, ("content-encoding", "deflate")]),
        "SSE with an error status": chunked([event], status=429),
        "an event of a stream": chunked([FRAME, event, b"data: [DONE]\n\n"]),
        "an event named error": chunked([FRAME, b"event: error\n" + event]),
        "an event in pieces": chunked([FRAME + event], piece=3),
        "the first event": chunked([event]),
        "a stream that breaks in the error": chunked([FRAME, event[:-20]], tail=[Close()]),
        "a status line": raw(f"HTTP/1.1 401 {PROVIDER_KEY}\r\ncontent-length: 2\r\n\r\n{{}}".encode()),
        "not HTTP": raw(f"{PROVIDER_KEY}\r\n\r\n".encode(), Close()),
        "a torn head": raw(f"HTTP/1.1 200 OK\r\nx: {PROVIDER_KEY}".encode(), Close()),
    }


@pytest.mark.parametrize("name", telling())
@pytest.mark.parametrize("stream", [False, True])
async def test_our_key_said_back_reaches_nobody(
    house: House, name: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    house.upstream.expect(telling()[name])
    heard = await house.talk(house.post(ASK_STREAM if stream else ASK) + LAST)
    assert heard.statuses[1:] in ([200], [])
    (row,) = await house.new_rows(1)
    places = {"answer": heard.data, "log": caplog.text.encode(), "row": repr(row).encode()}
    for place, data in places.items():
        for secret in (PROVIDER_KEY, PROVIDER_KEY[:18], ORG):
            assert secret.encode() not in data, (place, data)
    assert row["outcome"] == "upstream_error"


async def test_nor_in_a_compressed_error_that_says_nothing_of_it(house: House) -> None:
    house.upstream.expect(whole(gzip.compress(f'{{"error":"{PROVIDER_KEY}"}}'.encode()), status=401, headers=[JSON]))
    (answer, _) = (await house.talk(house.post() + LAST)).answers
    assert not answer.body.startswith(b"\x1f\x8b") and PROVIDER_KEY.encode() not in answer.body


async def test_bombs_are_not_unpacked(house: House) -> None:
    """Compressed although we asked for identity: it passes as it is, or not at all."""
    bomb = gzip.compress(b"\0" * (64 * 1024 * 1024), 9)
    for status in (200, 400):
        house.upstream.expect(whole(bomb, status=status, headers=[JSON, ("content-encoding", "gzip")]))
        heard = await house.talk(house.post() + LAST)
        assert heard.statuses == [status, 200] and len(heard.data) < 200_000
    encoding = [request.header("accept-encoding") for request in house.upstream.requests]
    assert encoding == ["identity", "identity"]


HEADS = {
    "NUL in a value": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n{}",
    "a folded header": b"HTTP/1.1 200 OK\r\nx: a\r\n b: c\r\ncontent-length: 2\r\n\r\n{}",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "bare CR": b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a bad chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "a head of 1 MB": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "1000 headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"content-length: 2\r\n\r\n{}",
    "HTTP/0.9": ANSWER,
    "HTTP/2": b"HTTP/2 200\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answer", HEADS.values(), ids=HEADS)
async def test_a_malformed_answer_is_a_502(house: House, answer: bytes) -> None:
    house.upstream.expect(raw(answer, Close()))
    heard = await house.talk(house.post() + LAST)
    assert heard.statuses == [502, 200] and heard.answers[0].code == "provider_response_broken"
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "upstream_error"


async def test_a_second_answer_is_not_the_next_ones(house: House) -> None:
    """Bytes behind an answer: the connection is given up, nobody else gets them."""
    poison = whole(b'{"poisoned":true}')
    house.upstream.expect(Script(whole(ANSWER).steps + poison.steps), whole(ANSWER), whole(ANSWER))
    heard = await house.talk(house.post() + house.post() + LAST)
    again = await house.talk(house.post() + LAST)
    assert heard.statuses == [200, 200, 200] and again.statuses == [200, 200]
    assert b"poisoned" not in heard.data + again.data


async def test_headers_of_the_providers_connection_stay_there(house: House) -> None:
    own = [
        ("connection", "x-secret"), ("x-secret", "mango-canary"), ("keep-alive", "timeout=5"), ("server", "mango-canary"),
        ("alt-svc", "mango-canary"), ("content-security-policy", "mango-canary"), ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"), ("strict-transport-security", "max-age=1"),
        ("x-synapscale-cost-usd", "0"), ("cache-control", "public, max-age=99"),
    ]  # fmt: skip
    house.upstream.expect(
        whole(ANSWER, headers=[JSON, *own]),
        raw(head(200, [*EVENT_STREAM, *own, ("content-length", str(len(DONE)))]) + DONE),
    )
    heard = await house.talk(house.post() + house.post(ASK_STREAM) + LAST)
    assert heard.statuses == [200, 200, 200]
    assert b"mango-canary" not in heard.data
    for answer in heard.answers[:2]:
        names = {name for name, _ in answer.headers}
        assert not names & {
            "keep-alive",
            "alt-svc",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "strict-transport-security",
        }
        assert answer.header("cache-control") == "private, no-store"
        assert answer.header("x-synapscale-cost-usd") != "0"
