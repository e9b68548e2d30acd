"""Several requests on one connection: answered in their order, one at a time, bounded; and HTTP/1.0."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, HANG_S, LAST, House
from tests.upstream.script import LAST_CHUNK, Hold, Script, Send, chunk, chunked, raw, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def numbered(number: int) -> bytes:
    return ANSWER[:-1] + b',"number":%d}' % number


async def test_two_hot_ones_in_one_packet(house: House) -> None:
    house.upstream.expect(whole(numbered(1)), whole(numbered(2)))
    heard = await house.talk(house.post() + house.post() + LAST)
    assert [answer.body for answer in heard.answers[:2]] == [numbered(1), numbered(2)]
    assert heard.statuses == [200, 200, 200]


async def test_hot_and_cold_take_turns(house: House) -> None:
    house.upstream.expect(*(whole(numbered(number)) for number in range(3)))
    models = house.head(method=b"GET", path=b"/v1/models")
    api = house.manage(b"POST", b"workspaces", b"{}")
    heard = await house.talk(house.post() + models + house.post() + api + HEALTH + house.post() + LAST)
    assert heard.statuses == [200, 200, 200, 400, 200, 200, 200]
    assert [answer.body for answer in heard.answers if b"number" in answer.body] == [numbered(n) for n in range(3)]


async def test_a_stream_is_ended_before_the_next_answer_begins(house: House) -> None:
    """Its rest comes only after the second request has long arrived."""
    go_on = asyncio.Event()
    start, rest = chunked([DONE[:20]], tail=[]).steps[0], chunk(DONE[20:]) + LAST_CHUNK
    house.upstream.expect(Script([start, Hold(go_on), Send(rest)]), whole(ANSWER))
    client = await house.connect()
    await client.send(house.post(ASK_STREAM) + house.post() + LAST)
    await client.until(b"\r\n\r\n")
    go_on.set()
    heard = await client.hear()
    assert heard.statuses == [200, 200, 200]
    assert heard.answers[0].body == DONE and heard.answers[1].body == ANSWER
    client.close()


async def test_chunked_bodies_in_one_packet(house: House) -> None:
    house.upstream.expect(whole(numbered(1)), whole(numbered(2)))
    one = house.head(extra=b"Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK)
    heard = await house.talk(one + one + LAST)
    assert [answer.body for answer in heard.answers[:2]] == [numbered(1), numbered(2)]


async def test_one_at_a_time(house: House) -> None:
    """While the first is not answered, the second is not sent to a provider."""
    go_on = asyncio.Event()
    house.upstream.expect(raw(Hold(go_on), *whole(ANSWER).steps), whole(ANSWER))
    client = await house.connect()
    await client.send(house.post() + house.post() + LAST)
    await house.asked(1)
    assert (await house.talk(LAST)).statuses == [200]  # a turn through the gateway: whatever would be sent, is
    assert len(house.upstream.requests) == 1
    go_on.set()
    assert (await client.hear()).statuses == [200, 200, 200]
    client.close()


async def test_what_waits_behind_a_client_that_left_is_not_sent(house: House) -> None:
    go_on = asyncio.Event()
    house.upstream.expect(raw(Hold(go_on), *whole(ANSWER).steps))
    client = await house.connect()
    await client.send(house.post() * 5)
    await house.asked(1)
    client.reset()
    go_on.set()
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "client_abort"
    await house.quiet()
    assert len(house.upstream.requests) == 1


@pytest.mark.parametrize("what", ["cold", "hot"])
async def test_a_flood_behind_an_unanswered_request_is_bounded(house: House, what: str) -> None:
    """The gateway stops reading: the flood stays with who makes it (CVE-2026-54273)."""
    go_on = asyncio.Event()
    house.upstream.expect(raw(Hold(go_on), *whole(ANSWER).steps))
    house.upstream.always(whole(ANSWER))
    client = await house.connect()
    await client.send(house.post())
    await house.asked(1)
    sent = 0
    block = (HEALTH if what == "cold" else house.post()) * 200
    try:
        while sent < 64 * 1024 * 1024:
            async with asyncio.timeout(1):
                await client.send(block)
            sent += len(block)
    except (TimeoutError, ConnectionError):
        pass
    assert sent < 16 * 1024 * 1024, "the gateway keeps whatever is sent to it"
    assert len(house.upstream.requests) == 1
    client.reset()
    go_on.set()


async def test_a_flood_whose_answers_are_not_read_is_cut(house: House) -> None:
    client = await house.connect(receive_buffer=4096)
    block = house.head(method=b"GET", path=b"/api/v1/openapi.json", key=house.admin_key) * 50
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(HANG_S):
            while True:
                await client.send(block)
    client.close()


async def test_a_flood_that_reads_gets_all(house: House) -> None:
    heard = await house.talk(HEALTH * 3000 + LAST)
    assert heard.statuses == [200] * 3001


# ---- HTTP/1.0


async def test_http_1_0_ends_its_connection(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    heard = await house.talk(house.post(version=b"1.0"))
    assert heard.statuses == [200] and heard.answers[0].body == ANSWER and heard.answers[0].closes


async def test_http_1_0_may_go_on(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    keep = b"Connection: keep-alive\r\n"
    client = await house.connect()
    for count in (1, 2):
        await client.send(house.post(version=b"1.0", extra=keep))
        await client.until(ANSWER, count)
    await client.send(house.post(version=b"1.0"))
    heard = await client.hear()
    assert heard.statuses == [200, 200, 200]
    assert [answer.header("connection") for answer in heard.answers] == ["keep-alive", "keep-alive", "close"]
    client.close()


@pytest.mark.parametrize("extra", [b"", b"Connection: keep-alive\r\n"])
async def test_no_chunks_for_http_1_0(house: House, extra: bytes) -> None:
    """A stream ends with its connection, whatever the client asked for."""
    house.upstream.expect(chunked([DONE]))
    heard = await house.talk(house.post(ASK_STREAM, version=b"1.0", extra=extra))
    (answer,) = heard.answers
    assert answer.body == DONE and not answer.chunked and answer.closes and not heard.reset


async def test_cold_paths_by_http_1_0(house: House) -> None:
    for data in (house.head(method=b"GET", path=b"/v1/models", version=b"1.0"), b"GET /health/live HTTP/1.0\r\n\r\n"):
        (answer,) = (await house.talk(data)).answers
        assert answer.status == 200 and answer.complete and not answer.chunked


async def test_connection_close_is_kept_to(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    for close in (b"Connection: close\r\n", b"Connection: Close, x-y\r\n"):
        for data in (house.post(extra=close), house.head(method=b"GET", path=b"/v1/models", extra=close)):
            heard = await house.talk(data)
            assert heard.statuses == [200] and heard.answers[0].closes and not heard.reset
