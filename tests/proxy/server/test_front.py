"""The front's connections over a transport in memory: which bytes become which requests, however they are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.server.connection import ClientConnection, Connections, Limits
from proxy.server.front import FrontConnection
from proxy.server.request_head import RawHeaders
from proxy.wire.refusals import Refused

LINE = b"POST /hot HTTP/1.1\r\n"


def hot(body: bytes, extra: bytes = b"") -> bytes:
    return LINE + b"Host: h\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), extra, body)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.closed = self.aborted = self.paused = False
        self.unsent = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Cold(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


class Handler:
    """Answers at once, or when told to."""

    request_line = LINE

    def __init__(self) -> None:
        self.seen: list[tuple[RawHeaders, bytes]] = []
        self.refused: list[int] = []
        self.known = True
        self.at_once = True
        self.keep = True
        self.under_way = 0
        self.room = 1 << 30

    def read_head(self, headers: RawHeaders) -> RawHeaders | None:
        return None if (b"No", b"way") in headers else headers

    def knows(self, head: Any) -> bool:
        return self.known

    def make_room(self, length: int) -> bool:
        if self.room < length:
            return False
        self.room -= length
        return True

    def give_back(self, length: int) -> None:
        self.room += length

    def begin(self, connection: FrontConnection, head: RawHeaders, body: bytes) -> None:
        self.under_way += 1
        assert self.under_way == 1
        self.seen.append((head, body))
        if self.at_once:
            self.answer(connection)

    def answer(self, connection: FrontConnection) -> None:
        self.under_way -= 1
        connection.answered(keep=self.keep)

    def refuse(self, connection: FrontConnection, refusal: Refused) -> None:
        self.refused.append(refusal.status)
        connection.answered(keep=False)


class Stage:
    def __init__(self, limits: Limits | None = None) -> None:
        self.handler = Handler()
        self.connections = Connections(limits or Limits())
        self.cold = Cold()
        self.transport = Transport()
        make_cold = cast("Callable[[], ClientConnection]", lambda: self.cold)
        self.front = FrontConnection(self.connections, self.handler, make_cold)
        self.transport.protocol = self.front
        self.front.connection_made(self.transport)

    async def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.protocol.data_received(piece)
        for _ in range(50):
            await asyncio.sleep(0)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.handler.seen]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in zip(places, places[1:], strict=False) if start < end]


bodies = st.binary(max_size=40)
places = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(bodies, min_size=1, max_size=4), places, st.binary(max_size=30))
def test_the_same_bytes_are_the_same_requests_however_they_are_cut(
    sent: list[bytes], at: list[int], rest: bytes
) -> None:
    """And what is no such request goes to aiohttp, every byte of it from its beginning."""
    cold = b"GET / HTTP/1.1\r\n" + rest

    async def run() -> None:
        stage = Stage()
        await stage.receive(*cut(b"".join(hot(body) for body in sent) + cold, at))
        assert stage.bodies == sent
        assert stage.cold.data == cold
        assert stage.front not in stage.connections.open

    asyncio.run(run())


async def test_a_head_that_differs_in_more_than_its_length_is_read_again() -> None:
    stage = Stage()
    await stage.receive(hot(b"1"), hot(b"22"), hot(b"333", b"X: y\r\n"), hot(b"4444", b"X: z\r\n"))
    assert stage.bodies == [b"1", b"22", b"333", b"4444"]
    assert [dict(headers).get(b"X") for headers, _ in stage.handler.seen] == [None, None, b"y", b"z"]


@pytest.mark.parametrize("length", [b"+2", b"-2", b" 2", b"2 ", b"0x2", b"\xb2", b"2, 2", b"99999999999999999999", b""])
async def test_a_known_head_with_an_odd_length_is_not_trusted(length: bytes) -> None:
    stage = Stage()
    odd = hot(b"{}").replace(b": 2\r\n", b": %b\r\n" % length)
    await stage.receive(hot(b"{}"), odd)
    if length.strip() == b"2":  # blanks around a value are allowed, and read anew
        assert stage.bodies == [b"{}", b"{}"]
    else:
        assert (stage.bodies, stage.cold.data) == ([b"{}"], odd)


@pytest.mark.parametrize(
    "data",
    [
        LINE + b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /hot HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /hot?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"\r\n" + hot(b"{}"),
        hot(b"{}", b"No: way\r\n"),
        LINE + b"X: " + b"x" * 20_000,
    ],
)
async def test_what_is_not_plain_is_turned_over_for_good(data: bytes) -> None:
    stage = Stage()
    await stage.receive(data)
    await stage.receive(hot(b"{}"))
    assert (stage.bodies, stage.cold.data) == ([], data + hot(b"{}"))


async def test_a_strangers_body_and_one_that_is_too_large_are_not_waited_for() -> None:
    stage = Stage()
    stage.handler.known = False
    await stage.receive(hot(b"x" * 100)[:-50])
    assert stage.cold.data == hot(b"x" * 100)[:-50]
    large = Stage(Limits(max_body_bytes=99))
    await large.receive(hot(b"x" * 100)[:-50])
    assert large.cold.data == hot(b"x" * 100)[:-50]


async def test_requests_ahead_of_their_turn_wait_bounded() -> None:
    stage = Stage()
    stage.handler.at_once = False
    await stage.receive(hot(b"1"), hot(b"2") + hot(b"x" * 70_000))
    assert stage.bodies == [b"1"]
    assert stage.transport.paused
    stage.handler.answer(stage.front)
    await stage.receive()
    assert stage.bodies == [b"1", b"2"]
    assert stage.transport.paused  # as much waits as before
    stage.handler.answer(stage.front)
    await stage.receive()
    assert len(stage.bodies) == 3
    assert not stage.transport.paused


async def test_nothing_more_is_read_of_a_client_that_does_not_take_its_answer() -> None:
    stage = Stage()
    await stage.receive(hot(b"1"))
    stage.front.pause_writing()
    await stage.receive(*[hot(b"x" * 1000)] * 100)
    assert len(stage.bodies) == 1
    assert stage.transport.paused
    stage.front.resume_writing()
    await stage.receive()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(stage.bodies) == 101
    assert not stage.transport.paused


async def test_no_request_before_the_last_answer_is_taken() -> None:
    stage = Stage()
    stage.handler.at_once = False
    await stage.receive(hot(b"1"))
    stage.front.pause_writing()
    await stage.receive(hot(b"2"))
    stage.handler.answer(stage.front)
    await stage.receive()
    assert stage.bodies == [b"1"]
    stage.front.resume_writing()
    assert stage.bodies == [b"1", b"2"]


async def test_a_request_behind_one_that_closes_is_not_served() -> None:
    stage = Stage()
    stage.handler.keep = False
    await stage.receive(hot(b"1") + hot(b"2"))
    assert stage.bodies == [b"1"]
    assert stage.transport.closed


async def test_slow_heads_are_cut_slow_bodies_refused_and_idle_lines_closed() -> None:
    limits = Limits(head_timeout_s=1, body_timeout_s=2, keepalive_timeout_s=3)
    now = asyncio.get_running_loop().time()
    silent, half, slow, idle = Stage(limits), Stage(limits), Stage(limits), Stage(limits)
    await half.receive(hot(b"1")[:20])
    await slow.receive(hot(b"123")[:-1])
    await idle.receive(hot(b"1"))
    for stage in (silent, half, slow, idle):
        stage.front.look(now + 0.5)
        assert not stage.transport.is_closing()
    silent.front.look(now + 1.5)
    half.front.look(now + 1.5)
    assert silent.transport.aborted and half.transport.aborted
    slow.front.look(now + 1.5)
    assert not slow.handler.refused
    slow.front.look(now + 2.5)
    assert slow.handler.refused == [408] and slow.transport.closed
    idle.front.look(now + 3.4)
    assert not idle.transport.is_closing()
    idle.front.look(now + 3.6)
    assert idle.transport.closed


async def test_a_reader_that_takes_nothing_is_cut_and_a_slow_one_is_not() -> None:
    stage = Stage(Limits(write_timeout_s=1))
    stage.handler.at_once = False
    await stage.receive(hot(b"1"))
    now = asyncio.get_running_loop().time()
    stage.transport.unsent = 100
    stage.front.pause_writing()
    stage.transport.unsent = 50
    stage.front.look(now + 2)
    assert not stage.transport.aborted
    stage.front.look(now + 4)
    assert stage.transport.aborted


async def test_more_connections_than_allowed_are_cut() -> None:
    stage = Stage(Limits(max_connections=1))
    other = FrontConnection(stage.connections, stage.handler, cast("Any", None))
    transport = Transport()
    other.connection_made(transport)
    assert transport.aborted and not stage.transport.aborted


async def test_idle_connections_close_when_the_gateway_drains() -> None:
    idle, busy = Stage(), Stage()
    busy.handler.at_once = False
    await busy.receive(hot(b"1"))
    idle.front.close_if_idle()
    busy.front.close_if_idle()
    assert idle.transport.closed and not busy.transport.closed


async def test_a_connection_on_which_something_comes_in_is_not_idle() -> None:
    head, body = Stage(), Stage()
    await head.receive(hot(b"1")[:10])
    await body.receive(hot(b"123")[:-1])
    for stage in (head, body):
        stage.connections.close_idle()
        assert not stage.transport.closed
        await stage.receive(hot(b"1")[10:] if stage is head else b"3")
        assert len(stage.bodies) == 1
        assert stage.transport.closed


async def test_while_it_drains_an_answer_that_promised_more_keeps_its_connection() -> None:
    stage = Stage()
    stage.handler.at_once = False
    await stage.receive(hot(b"1"))
    stage.connections.draining = True
    stage.handler.answer(stage.front)
    assert not stage.transport.closed
    stage.connections.close_idle()
    assert stage.transport.closed


async def test_room_is_kept_for_a_body_that_is_still_to_come() -> None:
    whole, late, lost, slow = Stage(), Stage(), Stage(), Stage(Limits(body_timeout_s=2))
    for stage in (whole, late, lost, slow):
        stage.handler.room = 5
    await whole.receive(hot(b"1" * 9))
    assert whole.bodies and whole.handler.room == 5
    for stage in (late, lost, slow):
        await stage.receive(hot(b"12345")[:-1])
        assert stage.handler.room == 0
    await late.receive(b"5")
    lost.front.connection_lost(None)
    slow.front.look(asyncio.get_running_loop().time() + 3)
    assert [stage.handler.room for stage in (late, lost, slow)] == [5, 5, 5]
    assert late.bodies == [b"12345"] and slow.handler.refused == [408]


async def test_without_room_aiohttps_way_refuses() -> None:
    stage = Stage()
    stage.handler.room = 4
    await stage.receive(hot(b"12345")[:-1])
    assert stage.cold.data == hot(b"12345")[:-1]
    assert stage.handler.room == 4 and not stage.connections.open
