"""The way to Redis, on asyncio's loop and on uvloop: what a lost, cut, stalled or amnesiac server does to callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import uvloop

from proxy.holds.away import ErrorReply, StoreAway, Unanswered
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.holds.line import READ_BYTES
from proxy.holds.resp import pack
from tests.held import EPOCHS, SHARD, WORKSPACE, Seen, connected, eventually, new_attempt
from tests.line import Line
from tests.own_valkey import OwnValkey
from tests.upstream import certificate

PING = pack(b"PING")


@pytest.fixture(
    scope="module", params=[asyncio.DefaultEventLoopPolicy(), uvloop.EventLoopPolicy()], ids=["asyncio", "uvloop"]
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def over_line(line: Line) -> AsyncIterator[Bus]:
    bus = await connected(Bus(line.redis_url, deadline_s=1.0, tick_s=0.05))
    yield bus
    line.resume()
    await bus.stop()


@pytest.fixture
def quiet_loop() -> Iterator[list[dict[str, Any]]]:
    """What the loop would have logged."""
    loop = asyncio.get_event_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    yield told
    loop.set_exception_handler(None)


async def scope_of(holds: Holds) -> Any:
    await holds.seed(SHARD, "gen-1", EPOCHS)
    return holds.scope(SHARD, WORKSPACE)


async def test_answers_come_to_their_askers_in_order(bus: Bus) -> None:
    got: list[Any] = []
    for number in range(5_000):
        bus.send(pack(b"ECHO", number), got.append)
    await eventually(lambda: len(got) == 5_000)
    assert got == [b"%d" % number for number in range(5_000)]


async def test_commands_of_one_tick_leave_in_one_write(
    over_line: Bus, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Any] = []
    assert over_line._line is not None
    writes: list[bytes] = []
    transport = over_line._line._transport

    class Counting:
        def write(self, data: bytes) -> None:
            writes.append(data)
            transport.write(data)  # type: ignore[union-attr]

    monkeypatch.setattr(over_line._line, "_transport", Counting())
    for _ in range(32):
        over_line.send(PING, got.append)
    await eventually(lambda: len(got) == 32)
    monkeypatch.undo()
    assert len(writes) == 1


async def test_an_answer_larger_than_the_buffer(bus: Bus) -> None:
    big = b"x" * (3 * READ_BYTES + 1)
    got: list[Any] = []
    bus.send(pack(b"ECHO", big), got.append)
    bus.send(PING, got.append)
    await eventually(lambda: len(got) == 2)
    assert got == [big, b"PONG"]


async def test_a_failing_sink_costs_the_others_nothing(bus: Bus, quiet_loop: list[dict[str, Any]]) -> None:
    got: list[Any] = []

    def broken(reply: Any) -> None:
        raise RuntimeError("a bug")

    for sink in (got.append, broken, got.append, broken, broken, got.append):
        bus.send(PING, sink)
    await eventually(lambda: len(got) == 3)
    assert [str(context["exception"]) for context in quiet_loop] == ["a bug"] * 3
    assert bus.connected


async def test_an_error_reply_is_one_askers_matter(bus: Bus) -> None:
    got: list[Any] = []
    for command in (pack(b"NOSUCH"), PING):
        bus.send(command, got.append)
    await eventually(lambda: len(got) == 2)
    assert isinstance(got[0], ErrorReply)
    assert got[0].code == "ERR"
    assert got[1] == b"PONG"


async def test_scripts_that_redis_forgot_are_loaded_and_the_calls_repeated(holds: Holds, seen: Seen) -> None:
    scope = await scope_of(holds)
    await seen.redis.script_flush()
    attempts = [new_attempt() for _ in range(50)]
    replies = await asyncio.gather(*(holds.admit(scope, attempt_id, b"{}", 4, 7) for attempt_id in attempts))
    assert {reply.kind for reply in replies} == {"held"}
    assert set(await seen.holds()) == set(attempts)


async def test_other_answers_keep_their_places_around_a_missing_script(holds: Holds, bus: Bus, seen: Seen) -> None:
    scope = await scope_of(holds)
    await seen.redis.script_flush()
    got: list[Any] = []
    bus.send(pack(b"ECHO", b"before"), got.append)
    answer = holds.admit(scope, new_attempt(), b"{}", 4, 7)
    bus.send(pack(b"ECHO", b"behind"), got.append)
    assert (await answer).kind == "held"
    assert got == [b"before", b"behind"]


async def test_a_call_cut_in_the_middle_of_its_answer_is_unanswered(line: Line, over_line: Bus) -> None:
    got: list[Any] = []
    line.cut_after(reply_bytes=len(b"$4\r\nwhole\r\n") + 3)
    over_line.send(pack(b"ECHO", b"whole"), got.append)
    over_line.send(pack(b"ECHO", b"half"), got.append)
    over_line.send(PING, got.append)
    await eventually(lambda: len(got) == 3)
    assert got[0] == b"whole"
    assert isinstance(got[1], Unanswered)
    assert isinstance(got[2], Unanswered)


async def test_it_reconnects_and_says_so(line: Line, over_line: Bus) -> None:
    connects: list[bool] = []
    over_line.on_connect = lambda: connects.append(over_line.connected)
    line.cut()
    await eventually(lambda: connects == [True])
    assert (await Holds(over_line).time_ms()) > 0


async def test_while_away_nothing_is_sent_and_the_caller_knows_at_once(line: Line, over_line: Bus) -> None:
    line.refuse()
    await eventually(lambda: not over_line.connected)
    with pytest.raises(StoreAway) as away:
        over_line.send(PING, print)
    assert not isinstance(away.value, Unanswered)
    line.accept()
    await eventually(lambda: over_line.connected)


async def test_a_stalled_server_is_given_up_at_the_deadline(line: Line, over_line: Bus) -> None:
    got: list[Any] = []
    line.stall()
    over_line.send(PING, got.append)
    await eventually(lambda: got)
    assert isinstance(got[0], Unanswered)
    assert "1.0 s" in str(got[0])
    # A connection that opens and does not answer is no connection.
    assert not over_line.connected
    line.resume()
    await eventually(lambda: over_line.connected)


async def test_a_slow_answer_within_the_deadline_is_an_answer(line: Line, over_line: Bus) -> None:
    got: list[Any] = []
    line.stall()
    over_line.send(PING, got.append)
    await asyncio.sleep(0.3)
    line.resume()
    await eventually(lambda: got)
    assert got == [b"PONG"]
    assert line.connections == 1


async def test_pending_calls_are_bounded(redis_url: str) -> None:
    bus = await connected(Bus(redis_url, max_pending=10))
    try:
        got: list[Any] = []
        for _ in range(10):
            bus.send(PING, got.append)
        with pytest.raises(StoreAway, match="keep up"):
            bus.send(PING, got.append)
        await eventually(lambda: len(got) == 10)
        bus.send(PING, got.append)
        await eventually(lambda: len(got) == 11)
    finally:
        await bus.stop()


async def test_unsent_bytes_are_bounded(line: Line) -> None:
    bus = await connected(Bus(line.redis_url, max_unsent_bytes=1 << 20))
    try:
        line.stall()
        sent = 0
        with pytest.raises(StoreAway, match="keep up"):
            while sent < 64 << 20:
                bus.send(pack(b"ECHO", b"x" * 100_000), lambda reply: None)
                sent += 100_000
                await asyncio.sleep(0)
        assert sent < 32 << 20  # what the kernel's buffers and the proxy's took is not ours to bound
        line.resume()
        assert bus._line is not None
        await eventually(lambda: not bus._line.stuffed)  # type: ignore[union-attr]
    finally:
        line.resume()
        await bus.stop()


async def test_memory_is_told_as_a_ratio(bus: Bus, seen: Seen) -> None:
    facts = await seen.redis.info("memory")
    assert abs(bus.memory_ratio - facts["used_memory"] / facts["maxmemory"]) < 0.1
    await seen.redis.config_set("maxmemory", 2 * facts["used_memory"])
    try:
        await eventually(lambda: bus.memory_ratio > 0.4)
    finally:
        await seen.redis.config_set("maxmemory", facts["maxmemory"])


async def test_killed_and_started_again_it_forgets_scripts_and_nothing_else(own_valkey: OwnValkey) -> None:
    bus = await connected(Bus(own_valkey.url, tick_s=0.05))
    try:
        holds = Holds(bus)
        scope = await scope_of(holds)
        attempt_id = new_attempt()
        await holds.admit(scope, attempt_id, b"{}", 4, 7)
        own_valkey.kill()
        await eventually(lambda: not bus.connected)
        own_valkey.restart()
        await eventually(lambda: bus.connected)
        assert await holds.resend(SHARD, attempt_id, b"{}") == "settled"
    finally:
        await bus.stop()


async def test_a_frozen_server_answers_nobody_and_then_everybody(own_valkey: OwnValkey) -> None:
    bus = await connected(Bus(own_valkey.url, deadline_s=0.5, tick_s=0.05))
    try:
        got: list[Any] = []
        own_valkey.freeze()
        bus.send(PING, got.append)
        await eventually(lambda: got)
        assert isinstance(got[0], Unanswered)
        own_valkey.thaw()
        await eventually(lambda: bus.connected)
    finally:
        own_valkey.thaw()
        await bus.stop()


async def test_a_password_that_is_wrong_is_logged_and_tried_on(
    own_valkey: OwnValkey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bus = Bus(own_valkey.url.replace("unix://", "unix://someone:canary-secret@"))
        await bus.start()
        assert not await bus.wait_connected(0.3)
        await bus.stop()
    assert "WRONGPASS" in caplog.text
    assert "canary-secret" not in caplog.text


async def test_user_password_and_database_are_used(own_valkey: OwnValkey) -> None:
    admin = await connected(Bus(own_valkey.url))
    got: list[Any] = []
    admin.send(pack(b"ACL", b"SETUSER", b"gate", b"on", b">p@ss:word/", b"~*", b"&*", b"+@all"), got.append)
    await eventually(lambda: got == [b"OK"])
    await admin.stop()
    bus = await connected(Bus(own_valkey.url.replace("unix://", "unix://gate:p%40ss%3Aword%2F@") + "?db=2"))
    try:
        bus.send(pack(b"CLIENT", b"LIST", b"ID", b"0"), got.append)
        bus.send(pack(b"CLIENT", b"INFO"), got.append)
        await eventually(lambda: len(got) == 3)
        assert b"user=gate" in got[2]
        assert b"db=2" in got[2]
    finally:
        await bus.stop()


async def test_stop_writes_what_was_queued(redis_url: str, seen: Seen) -> None:
    bus = await connected(Bus(redis_url))
    got: list[Any] = []
    bus.send(pack(b"SET", b"last", b"word"), got.append)
    await bus.stop()
    assert await seen.redis.get("last") == b"word"
    assert got


async def test_over_tls(redis_url: str, upstream_certificate: tuple[Path, Path]) -> None:
    context = certificate.server_context(*upstream_certificate)
    async with Line(unquote(urlsplit(redis_url).path), tls=context) as line:
        secure = line.redis_url.replace("redis://127.0.0.1", "rediss://localhost")
        bus = await connected(Bus(f"{secure}?ssl_ca_certs={upstream_certificate[0]}"))
        got: list[Any] = []
        big = b"x" * (2 * READ_BYTES)
        bus.send(pack(b"ECHO", big), got.append)
        await eventually(lambda: got == [big])
        await bus.stop()
        distrusting = Bus(secure)
        await distrusting.start()
        assert not await distrusting.wait_connected(0.3)
        await distrusting.stop()
