"""Clients that leave: at every event of a long stream, before it, within it, slowly. One row, everything back to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
import pytest

from tests.gateway import until
from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, HANG_S, USAGE, Client, House
from tests.upstream.script import EVENT_STREAM, LAST_CHUNK, Hold, Script, Send, Silence, Wait, chunk, head, raw, whole
from tests.upstream.server import Recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = 200
OPENING = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])


def event(number: int) -> bytes:
    choices = [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]
    return b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": choices}) + b"\n\n"


def paused_after(count: int, go_on: asyncio.Event) -> Script:
    """Stops behind so many events until the client is known to have left."""
    pieces = [chunk(event(number)) for number in range(EVENTS)]
    before, after = b"".join(pieces[:count]), b"".join(pieces[count:])
    return Script([Send(OPENING + before), Hold(go_on), Send(after + chunk(DONE) + LAST_CHUNK)])


def asking(house: House, name: str) -> bytes:
    body = orjson.dumps({**orjson.loads(ASK_STREAM), "user": name})
    return house.post(body)


def leave_torn(client: Client) -> None:
    client.reset()


def leave_in_order(client: Client) -> None:
    client.close()


LEAVING = {"RST": leave_torn, "FIN": leave_in_order}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_leaving_at_every_event_of_a_stream(house: House, leave: Callable[[Client], None]) -> None:
    """The provider goes on and reports: the row has its numbers, and says who left."""
    go_on = {str(count): asyncio.Event() for count in range(EVENTS + 1)}

    def answer(request: Recorded) -> Script:
        name = request.json()["user"]
        return paused_after(int(name), go_on[name])

    house.upstream.always(answer)

    async def one(count: int) -> None:
        client = await house.connect()
        await client.send(asking(house, str(count)))
        await (client.until(b"]}\n\n", count) if count else client.until(b"\r\n\r\n"))
        port = client.sock.getsockname()[1]
        leave(client)
        await until(partial(gone, house, port), "the gateway sees that the client left", HANG_S)
        go_on[str(count)].set()

    for start in range(0, EVENTS + 1, 50):
        await asyncio.gather(*(one(count) for count in range(start, min(start + 50, EVENTS + 1))))
    rows = await house.new_rows(EVENTS + 1)
    assert {row["end_user"] for row in rows} == set(go_on)
    assert {row["outcome"] for row in rows} == {"client_abort"}
    assert {(row["usage_source"], row["input_tokens"], row["output_tokens"]) for row in rows} == {("provider", 9, 4)}
    await house.provider_left()


async def test_leaving_where_the_provider_does_not_go_on(house: House) -> None:
    """The drain has an end: then the provider's connection is cut, and what came is estimated."""
    counts = [0, 1, 2, 57, EVENTS]
    house.upstream.always(lambda request: Script([
        Send(OPENING + b"".join(chunk(event(number)) for number in range(int(request.json()["user"])))), Silence()]))  # fmt: skip
    for count in counts:
        client = await house.connect()
        await client.send(asking(house, str(count)))
        await (client.until(b"]}\n\n", count) if count else client.until(b"\r\n\r\n"))
        client.reset()
    rows = sorted(await house.new_rows(len(counts)), key=lambda row: int(row["end_user"]))
    assert [row["end_user"] for row in rows] == [str(count) for count in counts]
    assert {(row["outcome"], row["usage_source"]) for row in rows} == {("client_abort", "estimated")}
    outputs = [row["output_tokens"] for row in rows]
    assert outputs == sorted(outputs) and outputs[0] == 0 and outputs[-1] > outputs[1] > 0
    for request in house.upstream.requests:
        await asyncio.wait_for(request.left.wait(), HANG_S)
    await house.provider_left()


async def _before_the_head(house: House, client: Client) -> None:
    await client.send(house.post(ASK_STREAM))
    await house.asked(1)


async def _within_the_head(house: House, client: Client) -> None:
    await client.send(house.post(ASK_STREAM))
    await house.asked(1)
    await client.loop.sock_recv(client.sock, 20)


BEFORE: dict[str, tuple[Script, Callable[[House, Client], Awaitable[None]]]] = {
    "before the provider's head": (raw(Wait(0.4), OPENING, chunk(DONE), LAST_CHUNK), _before_the_head),
    "before a whole answer": (raw(Wait(0.4), *whole(ANSWER).steps), _before_the_head),
    "after a byte of the head": (raw(OPENING, Wait(0.4), chunk(DONE), LAST_CHUNK), _within_the_head),
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize(("script", "wait"), BEFORE.values(), ids=BEFORE)
async def test_leaving_before_the_first_event(
    house: House, script: Script, wait: Callable[[House, Client], Awaitable[None]], leave: Callable[[Client], None]
) -> None:
    house.upstream.expect(script)
    client = await house.connect()
    await wait(house, client)
    leave(client)
    (row,) = await house.new_rows(1)
    assert (row["outcome"], row["usage_source"], row["output_tokens"]) == (
        "client_abort",
        "provider",
        USAGE["completion_tokens"],
    )
    await house.provider_left()


async def test_leaving_at_every_byte_of_the_request(house: House) -> None:
    """Nothing is sent to the provider for half a request, and the whole one leaves a row: whoever is there or not."""
    house.upstream.always(whole(ANSWER))
    data = house.post()
    for size in range(0, len(data) + 1, 3):
        client = await house.connect()
        if size:
            await client.send(data[:size])
        (client.reset if size % 2 else client.close)()
    await house.quiet()
    assert len(house.upstream.requests) <= 1


async def test_leaving_while_the_answer_is_written(house: House) -> None:
    """A reader that takes a part of a large answer and goes: whole or streamed."""
    large = orjson.dumps({**orjson.loads(ANSWER), "padding": "x" * 3_000_000})
    house.upstream.expect(whole(large))
    client = await house.connect(receive_buffer=4096)
    await client.send(house.post(ASK))
    await client.until(b"\r\n\r\n")
    client.reset()
    (row,) = await house.new_rows(1)
    assert (row["input_tokens"], row["output_tokens"]) == (9, 4)
    await house.provider_left()


async def test_the_clients_side_is_half_closed(house: House) -> None:
    """`shutdown(SHUT_WR)`: whether it is answered or taken for gone, one row says which."""
    house.upstream.always(raw(Wait(0.2), *whole(ANSWER).steps))
    for body in (ASK, ASK_STREAM):
        client = await house.connect()
        await client.send(house.post(body))
        client.sock.shutdown(1)
        heard = await client.hear()
        assert heard.statuses in ([200], [])
        client.close()
    for row in await house.new_rows(len(house.upstream.requests)):
        assert row["outcome"] in ("ok", "client_abort") and row["output_tokens"] == 4


async def test_a_crowd_that_leaves_at_once(house: House) -> None:
    """300 streams under way, all torn in one moment."""
    go_on = asyncio.Event()
    house.upstream.always(
        lambda request: raw(OPENING, chunk(event(0)), Hold(go_on), chunk(event(1)), chunk(DONE), LAST_CHUNK)
    )
    crowd = await asyncio.gather(*(house.connect() for _ in range(300)))
    await asyncio.gather(*(client.send(house.post(ASK_STREAM)) for client in crowd))
    await asyncio.gather(*(client.until(b"word0") for client in crowd))
    for client in crowd:
        client.reset()

    async def all_gone() -> bool:
        return not house.sockets(house.port)

    await until(all_gone, "the gateway sees that they left", HANG_S)
    go_on.set()
    rows = await house.new_rows(300)
    assert {(row["outcome"], row["output_tokens"]) for row in rows} == {("client_abort", 4)}
    await house.provider_left()


async def gone(house: House, client_port: int) -> bool:
    return not any(line.split()[1].endswith(f":{client_port:04X}") for line in house.sockets(house.port))
