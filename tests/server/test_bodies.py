"""Bodies that are compressed, too large, late, torn or waited for; what is left of them is never the next request."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tests.server.house import ANSWER, ASK, LAST, MAX_BODY_MIB, House
from tests.upstream.script import chunk, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = MAX_BODY_MIB * 1024 * 1024
API_CAP = 256 * 1024
BOMB = gzip.compress(b"\0" * (64 * 1024 * 1024), 9)

ENCODED = {
    "a gzip bomb": (b"Content-Encoding: gzip\r\n", BOMB),
    "x-gzip": (b"Content-Encoding: x-gzip\r\n", gzip.compress(ASK)),
    "deflate": (b"Content-Encoding: deflate\r\n", zlib.compress(ASK)),
    "br": (b"Content-Encoding: br\r\n", ASK),
    "zstd": (b"Content-Encoding: zstd\r\n", ASK),
    "unknown": (b"Content-Encoding: rot13\r\n", ASK),
    "two at once": (b"Content-Encoding: identity, gzip\r\n", gzip.compress(ASK)),
    "in capitals": (b"CONTENT-ENCODING: GZIP\r\n", gzip.compress(ASK)),
    "two headers": (b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", gzip.compress(ASK)),
}


@pytest.mark.parametrize(("extra", "body"), ENCODED.values(), ids=ENCODED)
async def test_compressed_bodies_are_not_read(house: House, extra: bytes, body: bytes) -> None:
    for data in (house.post(body, extra=extra), house.manage(b"POST", b"workspaces", body, extra=extra)):
        heard = await house.talk(data + LAST)
        assert (heard.answers[0].status, heard.answers[0].code) == (415, "unsupported_content_encoding")
        assert heard.statuses[1:] in ([], [200])
    assert not house.upstream.requests


async def test_a_compressed_body_that_hides_behind_identity(house: House) -> None:
    """Which of two headers counts does not matter: it is never unpacked."""
    for extra in (
        b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n",
        b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
    ):
        for data in (house.post(BOMB, extra=extra), house.manage(b"POST", b"workspaces", BOMB, extra=extra)):
            assert (await house.talk(data + LAST)).answers[0].status in (400, 415)
    assert not house.upstream.requests


async def test_identity_is_no_encoding(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    assert (await house.talk(house.post(extra=b"Content-Encoding: identity\r\n") + LAST)).statuses == [200, 200]


async def test_too_large_by_its_length(house: House) -> None:
    """Before a byte of it came; what comes all the same is not read as a request."""
    big = b"Content-Length: %d\r\n" % (CAP + 1)
    api = house.head(
        method=b"POST", path=b"/api/v1/workspaces", key=house.admin_key, extra=b"Content-Length: %d\r\n" % (API_CAP + 1)
    )
    for head in (house.head(extra=big), api):
        heard = await house.talk(head + house.post() + LAST)
        assert heard.statuses == [413]
        assert heard.answers[0].code == "request_too_large" and heard.answers[0].closes == (b"chat" in head)
    assert not house.upstream.requests


async def test_too_large_with_its_body(house: House) -> None:
    heard = await house.talk(house.post(ASK[:-1] + b" " * CAP + b"}") + house.post() + LAST)
    assert heard.statuses in ([413], [])
    assert heard.answers or heard.reset
    assert not house.upstream.requests


async def test_too_large_without_a_length(house: House) -> None:
    head = house.head(extra=b"Transfer-Encoding: chunked\r\n")
    piece = chunk(b" " * 65536)
    heard = await house.talk(head, *([piece] * (CAP // 65536 + 8)), b"0\r\n\r\n", house.post(), LAST)
    assert heard.statuses in ([413], [])
    assert heard.answers or heard.reset
    api = house.head(
        method=b"POST", path=b"/api/v1/workspaces", key=house.admin_key, extra=b"Transfer-Encoding: chunked\r\n"
    )
    heard = await house.talk(api, *([piece] * (API_CAP // 65536 + 8)))
    assert heard.statuses in ([413], [])
    assert not house.upstream.requests


async def test_as_large_as_may_be(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    body = ASK[:-1] + b" " * (CAP - len(ASK)) + b"}"
    assert len(body) == CAP
    assert (await house.talk(house.post(body) + LAST)).statuses == [200, 200]
    chunked = house.head(extra=b"Transfer-Encoding: chunked\r\n") + chunk(body) + b"0\r\n\r\n"
    assert (await house.talk(chunked + LAST)).statuses == [200, 200]


UNREAD = {
    "unknown key": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-syn-x\r\n", 401),
    "no key": (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n", 401),
    "compressed": (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer <key>\r\nContent-Encoding: gzip\r\n",
        415,
    ),
    "bad expectation": (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer <key>\r\nExpect: 200-ok\r\n",
        400,
    ),
    "wrong method": (b"PUT /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer <key>\r\n", 405),
    "unknown path": (b"POST /v1/nonsense HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer <key>\r\n", 404),
    "a GET that takes no body": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer <key>\r\n", 200),
    "api without a key": (b"POST /api/v1/workspaces HTTP/1.1\r\nHost: x\r\n", 401),
    "health": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n", 200),
}


@pytest.mark.parametrize(("head", "status"), UNREAD.values(), ids=UNREAD)
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "late"])
async def test_an_unread_body_is_not_the_next_request(
    house: House, head: bytes, status: int, framing: str, at_once: bool
) -> None:
    """Its body is a whole good request: read as one, it would be billed."""
    head = head.replace(b"<key>", house.key)
    body = house.post()
    if framing == "length":
        head, body = head + b"Content-Length: %d\r\n\r\n" % len(body), body
    else:
        head, body = head + b"Transfer-Encoding: chunked\r\n\r\n", chunk(body) + b"0\r\n\r\n"
    if at_once:
        heard = await house.talk(head + body + LAST)
    else:
        client = await house.connect()
        await client.send(head)
        await client.until(b"\r\n\r\n")
        await client.send_all([body, LAST])
        heard = await client.hear()
        client.close()
    assert heard.statuses in ([status], [status, 200]), heard.statuses
    assert not house.upstream.requests


async def test_a_body_that_ends_early(house: House) -> None:
    """The client closes its side in the middle: half a request is none."""
    for data in (house.post()[:-5], house.head(extra=b"Transfer-Encoding: chunked\r\n") + chunk(ASK)):
        client = await house.connect()
        await client.send(data)
        client.close()
    await house.quiet()
    assert not house.upstream.requests


# ---- Expect


async def test_it_continues_when_the_head_is_good(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    client = await house.connect()
    await client.send(house.post(extra=b"Expect: 100-Continue\r\n")[: -len(ASK)])
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(ASK + LAST)
    assert (await client.hear()).statuses == [100, 200, 200]
    client.close()


async def test_it_continues_on_the_management_side(house: House) -> None:
    client = await house.connect()
    await client.send(house.manage(b"POST", b"workspaces", b"{}", extra=b"Expect: 100-continue\r\n")[:-2])
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"{}" + LAST)
    assert (await client.hear()).statuses == [100, 400, 200]
    client.close()


async def test_a_body_that_does_not_wait_is_read(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    heard = await house.talk(house.post(extra=b"Expect: 100-continue\r\n") + LAST)
    assert heard.statuses in ([100, 200, 200], [200, 200])


async def test_http_1_0_is_told_nothing_in_between(house: House) -> None:
    """RFC 9110 section 10.1.1: an expectation of an HTTP/1.0 client is ignored."""
    house.upstream.expect(whole(ANSWER))
    heard = await house.talk(house.post(extra=b"Expect: 100-continue\r\n", version=b"1.0"))
    assert heard.statuses == [200]


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, canary-pear-7", b"canary-pear-7"])
async def test_other_expectations_are_refused(house: House, value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    extra = b"Expect: %b\r\n" % value
    models = house.head(method=b"GET", path=b"/v1/models", extra=extra)
    for data in (house.post(extra=extra), house.manage(b"POST", b"workspaces", b"{}", extra=extra), models):
        heard = await house.talk(data + LAST)
        answer = heard.answers[0]
        assert answer.status in (400, 417) and answer.code, answer
        assert b"canary" not in heard.data and "canary-pear" not in caplog.text
    assert not house.upstream.requests


async def test_too_large_is_said_before_continue(house: House) -> None:
    heard = await house.talk(house.head(extra=b"Expect: 100-continue\r\nContent-Length: %d\r\n" % (CAP + 1)))
    assert heard.statuses == [413]


async def test_a_stranger_is_refused_before_continue(house: House) -> None:
    heard = await house.talk(house.head(key=b"sk-syn-x", extra=b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
    assert heard.statuses == [401] and heard.answers[0].closes
