"""Smuggling: no bytes are ever two requests, and a head that servers disagree about ends its connection."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.server.house import ANSWER, ASK, HOT, LAST, House
from tests.server.vectors import AT_MOST_ONCE, REFUSED
from tests.upstream.script import chunk, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = b"canary-kiwi-4711-in-a-head"


class Surface(NamedTuple):
    method: bytes
    path: bytes
    admin: bool = False
    piece: int | None = None  # bytes per write


SURFACES = {
    "hot": Surface(b"POST", HOT),
    "hot, in pieces": Surface(b"POST", HOT, piece=11),
    "models": Surface(b"GET", b"/v1/models"),
    "api": Surface(b"POST", b"/api/v1/workspaces", admin=True),
}


def filled(vector: bytes, house: House, surface: Surface) -> bytes:
    key = house.admin_key if surface.admin else house.key
    body = b"{}" if surface.admin else ASK
    line = surface.method + b" " + surface.path + b" HTTP/1.1"
    smuggled = house.post()
    for name, value in {
        b"<start>": line + b"\r\nHost: gateway\r\nAuthorization: Bearer <key>\r\n",
        b"<line>": line,
        b"<method>": surface.method,
        b"<path>": surface.path,
        b"<key>": key,
        b"<len>": b"%d" % len(body),
        b"<body>": body,
        b"<chunked>": chunk(body) + b"0\r\n\r\n",
        b"<smuggled chunk>": chunk(smuggled) + b"0\r\n\r\n",
        b"<smuggled>": smuggled,
        b"<canary>": CANARY,
    }.items():
        vector = vector.replace(name, value)
    return vector


def in_pieces(data: bytes, surface: Surface) -> list[bytes]:
    if surface.piece is None or len(data) > 10_000:
        return [data]
    return [data[at : at + surface.piece] for at in range(0, len(data), surface.piece)]


def says_nothing_back(house: House, data: bytes, logged: str) -> None:
    for secret in (CANARY, house.key, house.admin_key):
        assert secret not in data, data
        assert secret.decode() not in logged


@pytest.mark.parametrize("vector", REFUSED.values(), ids=REFUSED)
async def test_refused_and_closed(house: House, vector: bytes, caplog: pytest.LogCaptureFixture) -> None:
    for name, surface in SURFACES.items():
        heard = await house.talk(*in_pieces(filled(vector, house, surface) + house.post() + LAST, surface))
        says_nothing_back(house, heard.data, caplog.text)
        assert len(heard.answers) <= 1, (name, heard.statuses)
        for answer in heard.answers:
            assert answer.status in (400, 405, 408, 413, 414, 431, 501, 505), (name, answer)
            assert answer.code and answer.closes, (name, answer)
            assert (answer.header("x-request-id") or "").startswith("req_") and answer.complete, (name, answer)
        assert heard.answers or heard.reset or b"\r\n\r\n" not in heard.data, name
        assert not house.upstream.requests, name


@pytest.mark.parametrize("vector", AT_MOST_ONCE.values(), ids=AT_MOST_ONCE)
async def test_at_most_one_request(house: House, vector: bytes, caplog: pytest.LogCaptureFixture) -> None:
    house.upstream.always(whole(ANSWER))
    for name, surface in SURFACES.items():
        before = len(house.upstream.requests)
        heard = await house.talk(*in_pieces(filled(vector, house, surface) + LAST, surface))
        says_nothing_back(house, heard.data, caplog.text)
        others = heard.answers[1:]
        for first in heard.answers[:1]:
            assert first.status in (200, 400, 401, 404, 405, 408, 413, 414, 415, 417, 431, 501, 505), (name, first)
            assert first.complete and (first.status < 400 or first.code), (name, first)
        assert [answer.status for answer in others] in ([], [200], [400]), (name, heard.statuses)
        assert len(house.upstream.requests) - before <= 1, name
        for request in house.upstream.requests[before:]:
            assert (request.method, request.path) == ("POST", "/v1/chat/completions")
            assert request.json()["model"] == "upstream-model"


async def test_http_1_0_with_chunks_ends_its_connection(house: House) -> None:
    """RFC 9112 section 6.1: such framing is to be treated as faulty, even where it is read."""
    house.upstream.always(whole(ANSWER))
    for name in ("TE and HTTP/1.0", "TE, HTTP/1.0 and a wish to go on"):
        heard = await house.talk(filled(AT_MOST_ONCE[name], house, SURFACES["hot"]) + house.post() + LAST)
        assert len(heard.answers) <= 1, (name, heard.statuses)


async def test_a_bad_head_behind_a_good_request(house: House) -> None:
    """The good one is answered or it is not sent to the provider; nothing behind the bad one is read."""
    house.upstream.always(whole(ANSWER))
    pieces = [house.post(), b"GET / HTTP/1.1\r\nX : y\r\n\r\n", house.post(), LAST]
    for sent in (pieces, [b"".join(pieces)]):
        before = len(house.upstream.requests)
        heard = await house.talk(*sent)
        assert heard.statuses in ([200, 400], [400], [200])
        assert len(house.upstream.requests) - before == heard.statuses.count(200)


UPGRADES = {
    "h2c, as Java's HttpClient asks first":
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
    "another": b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
}  # fmt: skip


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
async def test_an_upgrade_is_not_taken_up(house: House, upgrade: bytes) -> None:
    """The request is an ordinary one, and so is the next on its connection."""
    house.upstream.always(whole(ANSWER))
    client = await house.connect()
    for count in (1, 2):
        await client.send(house.post(extra=upgrade))
        assert b" 101 " not in await client.until(ANSWER, count)
    await client.send(LAST)
    assert (await client.hear()).statuses == [200, 200, 200]
    client.close()


async def test_trailers_say_nothing(house: House) -> None:
    """They come after the head was judged: no key, no length, no end user."""
    house.upstream.always(whole(ANSWER))
    trailers = b"X-End-User: mallory\r\nAuthorization: Bearer other\r\nIdempotency-Key: t\r\n"
    chunked = house.head(extra=b"Transfer-Encoding: chunked\r\n") + chunk(ASK) + b"0\r\n" + trailers + b"\r\n"
    heard = await house.talk(chunked + LAST)
    assert heard.statuses[0] in (200, 400)
    for row in await house.new_rows(len(house.upstream.requests)):
        assert row["end_user"] is None
    assert all(request.header("idempotency-key") is None for request in house.upstream.requests)


async def test_chunks_of_one_byte_are_one_body(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    head = house.head(extra=b"Transfer-Encoding: chUNKed\r\n")
    chunks = b"".join(b"01;x=y\r\n%c\r\n" % byte for byte in ASK) + b"0\r\n\r\n"
    heard = await house.talk(head + chunks + LAST)
    assert heard.statuses == [200, 200]
    assert house.upstream.requests[0].json()["messages"] == [{"role": "user", "content": "Hello"}]
