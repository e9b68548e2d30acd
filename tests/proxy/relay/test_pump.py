"""The pump between a scripted provider and a client, all on real sockets."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from proxy.identity.principal import ClientLeaves
from proxy.outbound.origin import split_base_url
from proxy.outbound.pool import Pool
from proxy.outbound.request import target
from proxy.outbound.sink import Broken, Headers, Sink, UpstreamCall
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from proxy.relay.client_channel import ClientChannel
from proxy.relay.echo import Echo
from proxy.relay.leaving import Drains
from proxy.relay.pump import Begin, Pump, PumpPolicy, StartCall
from proxy.relay.stream_end import (
    Answered,
    ClientLeft,
    Drained,
    EndedWithoutDone,
    Finished,
    PassedUnread,
    StreamEnd,
    UpstreamBroke,
)
from tests.proxy.outbound.sinks import HandTicker, LoopErrors, until
from tests.proxy.relay.raw_channel import Client
from tests.upstream.script import (
    EVENT_STREAM,
    LAST_CHUNK,
    Close,
    Flood,
    Hold,
    Reset,
    Script,
    Send,
    Silence,
    Wait,
    chunk,
    chunked,
    head,
    raw,
    whole,
)
from tests.upstream.server import Upstream

FRAMES = [b'data: {"n":%d}\n\n' % number for number in range(30)]
DONE = b"data: [DONE]\n\n"


@dataclass
class FrameMeter:
    """The least that a meter does: whole frames, [DONE] and the rest held. A frame that says `usage` reports it."""

    counting: bool = False
    frames: int = 0
    rest: bytes = b""
    held: bytes = b""
    done: bool = False
    reported: bool = False
    hides: bool = False
    fed: list[bytes] = field(default_factory=list)

    def feed(self, chunk: bytes) -> tuple[bytes, bool]:
        self.fed.append(chunk)
        self.reported = self.reported or b"usage" in chunk
        self.rest += chunk
        end = self.rest.rfind(b"\n\n") + 2
        block, self.rest = (self.rest[:end], self.rest[end:]) if end > 1 else (b"", self.rest)
        if self.counting:
            self.frames += block.count(b"\n\n")
        if self.done:
            self.held += block
            return b"", True
        at = block.find(DONE)
        if at >= 0:
            self.done = True
            self.held = block[at:]
            return block[:at], True
        return block, False

    def finish(self) -> bytes:
        self.held, self.rest = self.held + self.rest, b""
        return self.held


@dataclass
class Stage:
    """One attempt to be pumped."""

    outbound: Pool
    upstream: Upstream
    ticker: Ticker
    client: Client
    meter: FrameMeter = field(default_factory=FrameMeter)
    call: UpstreamCall | None = None

    def start(self, sink: Sink) -> UpstreamCall:
        origin, path = split_base_url(self.upstream.base_url)
        request = target(origin, "POST", path + "/chat/completions").request([], b"{}")
        self.call = self.outbound.call(origin, request, sink, connect_timeout_s=5, idle_timeout_s=60)
        return self.call

    def run(
        self, policy: PumpPolicy | None = None, *, stream: bool = True, leaves: ClientLeaves = "auto"
    ) -> asyncio.Task[StreamEnd]:
        channel: ClientChannel = self.client.channel
        work = pump(
            self.start, channel, self.meter, policy or PumpPolicy(), begin=begin, stream=stream, ticker=self.ticker,
            leaves=leaves,
        )  # fmt: skip
        return asyncio.ensure_future(work)


async def pump(
    start: StartCall, channel: ClientChannel, meter: FrameMeter, policy: PumpPolicy, *, begin: Begin, stream: bool,
    ticker: Ticker, leaves: ClientLeaves = "auto",
) -> StreamEnd:  # fmt: skip
    """One attempt, for who waits; cancelled, it ends the upstream's call."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[StreamEnd] = loop.create_future()
    running = Pump(channel, lambda: meter, policy, begin, stream, ticker, loop, ended.set_result, leaves)
    running.start(start)
    try:
        return await ended
    finally:
        if ended.cancelled():
            running.cancel()


def begin(headers: Headers) -> bytes:
    return b"x-begun: yes\r\n"


@pytest.fixture
def stage(outbound: Pool, upstream: Upstream, ticker: Ticker, client: Client) -> Stage:
    return Stage(outbound, upstream, ticker, client)


@pytest.fixture(params=["plain", "tls"])
async def either_stage(request: pytest.FixtureRequest, stage: Stage, tls_upstream: Upstream) -> AsyncIterator[Stage]:
    """Backpressure passes through TLS too, which has buffers of its own."""
    if request.param == "plain":
        yield stage
        return
    assert tls_upstream.ca_file is not None
    pool = Pool(stage.ticker, client_context(Path(tls_upstream.ca_file)))
    yield replace(stage, outbound=pool, upstream=tls_upstream)
    await pool.close()


@pytest.mark.parametrize("piece", [None, 1, 5])
async def test_a_stream_passes_and_its_last_frame_waits(stage: Stage, piece: int | None) -> None:
    stage.upstream.expect(chunked([*FRAMES, DONE, b": after\n\n"], piece=piece))
    end = await stage.run()
    assert isinstance(end, Finished)
    received = b""
    while len(received) < sum(map(len, FRAMES)):
        received += await stage.client.read()
    assert received == b"".join(FRAMES) and not stage.client.channel.finished
    await until(lambda: stage.outbound.state().idle == 1)  # the connection is free before the client has its end
    end.release()
    end.release()
    assert received + await stage.client.read_all() == b"".join([*FRAMES, DONE, b": after\n\n"])
    channel = stage.client.channel
    assert (channel.status, channel.head, channel.length) == (200, b"x-begun: yes\r\n", None)
    progress = end.progress
    assert progress.sent_bytes == len(b"".join([*FRAMES, DONE, b": after\n\n"])) and progress.dispatched
    assert progress.head_at is not None and progress.first_piece_at is not None


async def test_the_head_goes_out_before_the_first_frame(stage: Stage) -> None:
    frame = asyncio.Event()
    stage.upstream.expect(
        raw(head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")]), Hold(frame), chunk(DONE) + LAST_CHUNK)
    )
    running = stage.run()
    await until(lambda: stage.client.channel.status == 200)
    frame.set()
    assert isinstance(await running, Finished)


async def test_done_is_told_before_the_response_ends(stage: Stage) -> None:
    """The settlement starts at [DONE]; a provider that keeps its line open longer delays nobody, but not for ever."""
    stage.upstream.expect(chunked([*FRAMES, DONE], tail=[Silence()]))
    end = await stage.run(PumpPolicy(linger_s=0.05))
    assert isinstance(end, Finished)
    end.release()
    assert await stage.client.read_all() == b"".join([*FRAMES, DONE])
    await stage.upstream.requests[0].left.wait()
    assert stage.outbound.state() == (0, 0, 0, 0)


@pytest.mark.parametrize("way", [Close(), Reset(), Send(b"zz\r\n")])
async def test_what_happens_behind_done_breaks_nothing(stage: Stage, way: Close | Reset | Send) -> None:
    told = asyncio.Event()
    stage.upstream.expect(chunked([DONE], tail=[Hold(told), way]))
    end = await stage.run()
    assert isinstance(end, Finished)
    told.set()
    await until(lambda: stage.outbound.state().connections == 0)
    end.release()
    assert await stage.client.read_all() == DONE


async def test_a_stream_that_ends_without_done(stage: Stage) -> None:
    stage.upstream.expect(chunked([*FRAMES, b"data: half"]))
    end = await stage.run()
    assert isinstance(end, EndedWithoutDone) and not stage.client.channel.finished
    end.release()
    assert await stage.client.read_all() == b"".join(FRAMES) + b"data: half"


@pytest.mark.parametrize(("tail", "reason"), [(Close(), Broken.EARLY_CLOSE), (Send(b"zz\r\n"), Broken.MALFORMED)])
async def test_a_stream_that_breaks_keeps_its_unfinished_frame(
    stage: Stage, tail: Close | Send, reason: Broken
) -> None:
    """The client has whole frames only: an error event can follow and be read."""
    stage.upstream.expect(chunked([*FRAMES, b"data: half"], tail=[tail]))
    end = await stage.run()
    assert isinstance(end, UpstreamBroke) and end.reason is reason and end.detail
    assert end.progress.head_sent and end.progress.dispatched and not stage.client.channel.finished
    stage.client.channel.finish(b"data: error\n\n")
    assert await stage.client.read_all() == b"".join(FRAMES) + b"data: error\n\n"


async def test_broken_before_the_head_leaves_the_client_untouched(stage: Stage) -> None:
    """So that another route can still be tried."""
    stage.upstream.expect(raw(Close()))
    end = await stage.run()
    assert isinstance(end, UpstreamBroke) and end.reason is Broken.RESET
    assert end.progress.dispatched and not end.progress.head_sent and stage.client.channel.status is None


async def test_unreachable_was_not_dispatched(stage: Stage) -> None:
    async with Upstream() as other:
        stage.upstream = other
    end = await stage.run()
    assert isinstance(end, UpstreamBroke) and end.reason is Broken.UNREACHABLE
    assert not end.progress.dispatched and "refused" in end.detail


@pytest.mark.parametrize("stream", [True, False])
async def test_a_whole_body_is_handed_over_unsent(stage: Stage, stream: bool) -> None:
    """Also the JSON answer to a stream request: errors come so (recording 23), and providers that do not stream."""
    body = b'{"choices":[]}' * 1000
    stage.upstream.expect(whole(body, piece=700), whole(b'{"error":{}}', status=401))
    end = await stage.run(stream=stream)
    assert (
        isinstance(end, Answered) and end.body == body and (end.progress.status, end.progress.head_sent) == (200, False)
    )
    end = await stage.run(stream=stream)
    assert isinstance(end, Answered) and (end.progress.status, end.body) == (401, b'{"error":{}}')
    assert stage.client.channel.status is None and not stage.meter.fed


async def test_an_error_is_whole_even_as_an_event_stream(stage: Stage) -> None:
    stage.upstream.expect(
        chunked([b"data: {}\n\n"], status=500), whole(b"", status=302, headers=[("location", "http://x/")])
    )
    end = await stage.run()
    assert isinstance(end, Answered) and end.progress.status == 500
    end = await stage.run()
    assert isinstance(end, Answered) and end.progress.status == 302 and len(stage.upstream.requests) == 2


async def test_a_stream_without_a_content_type_is_one_if_asked_for(stage: Stage) -> None:
    stage.upstream.expect(chunked([*FRAMES, DONE], headers=[]))
    end = await stage.run(stream=True)
    assert isinstance(end, Finished)
    stage.upstream.expect(chunked([*FRAMES, DONE], headers=[]))
    end = await stage.run(stream=False)
    assert isinstance(end, Answered)


async def test_a_body_above_the_bound_passes_with_its_last_piece_held(stage: Stage) -> None:
    body = b"".join(b"%07d\n" % number for number in range(40_000))
    stage.upstream.expect(whole(body, headers=[("content-type", "application/json")]))
    running = stage.run(PumpPolicy(max_body_bytes=100_000), stream=False)
    reading = asyncio.ensure_future(stage.client.read_all())
    end = await running
    assert isinstance(end, PassedUnread) and not stage.client.channel.finished
    assert stage.client.channel.length == len(body) and end.tail == body[-64 * 1024 :]
    assert end.progress.sent_bytes < len(body)
    end.release()
    assert await reading == body and end.progress.sent_bytes == len(body)


async def test_a_compressed_stream_passes_unread(stage: Stage) -> None:
    more = asyncio.Event()
    opening = head(200, [*EVENT_STREAM, ("content-encoding", "gzip"), ("transfer-encoding", "chunked")])
    stage.upstream.expect(
        raw(opening + chunk(b"\x1f\x8b1"), Wait(0.02), chunk(b"2"), Hold(more), chunk(b"3") + LAST_CHUNK)
    )
    running = stage.run()
    assert await stage.client.read() == b"\x1f\x8b1"
    more.set()
    end = await running
    assert isinstance(end, PassedUnread) and not stage.meter.fed
    end.release()
    assert await stage.client.read_all() == b"23"


async def test_a_slow_reader_slows_the_provider_and_fills_no_memory(either_stage: Stage) -> None:
    """200 MB to a client that reads nothing."""
    total = 200 * 1024 * 1024
    block = chunk(b"data: " + b"x" * 65_000 + b"\n\n")
    either_stage.upstream.expect(
        Script([Send(head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])), Flood(block, total)])
    )
    gc.collect()
    before = psutil.Process().memory_info().rss
    running = either_stage.run()
    await until(lambda: either_stage.client.channel.pauses > 0)
    await asyncio.sleep(0.3)
    written = either_stage.client.channel.written
    await asyncio.sleep(0.3)
    assert either_stage.client.channel.written == written  # it stands still
    assert either_stage.client.channel.most_buffered < 1024 * 1024 and written < 16 * 1024 * 1024
    assert psutil.Process().memory_info().rss - before < 32 * 1024 * 1024
    assert (await either_stage.client.read()).startswith(b"data: ")
    either_stage.client.leave()
    end = await asyncio.wait_for(running, 10)
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT


async def test_a_slow_reader_gets_everything_in_the_end(either_stage: Stage) -> None:
    frames = [b"data: %06d %b\n\n" % (number, b"x" * 2000) for number in range(2000)]
    either_stage.upstream.expect(chunked([*frames, DONE]))
    running = either_stage.run()
    await until(lambda: either_stage.client.channel.pauses > 0)
    reading = asyncio.ensure_future(either_stage.client.read_all())
    end = await running
    assert isinstance(end, Finished)
    end.release()
    assert await reading == b"".join([*frames, DONE])


async def test_a_pause_in_the_last_write_does_not_keep_the_connection(stage: Stage) -> None:
    """[DONE] came with the bytes that filled the client's buffer; the response's end is still to be read."""
    last = asyncio.Event()
    stage.upstream.expect(chunked([*FRAMES, DONE], tail=[Hold(last), Send(LAST_CHUNK)]))
    channel = stage.client.channel
    write = channel.write

    def pausing(data: bytes) -> None:
        write(data)
        channel.pause_writing()

    channel.write = pausing  # type: ignore[method-assign]
    end = await stage.run()
    assert isinstance(end, Finished)
    last.set()
    await until(lambda: stage.outbound.state().idle == 1)
    end.release()
    assert await stage.client.read_all() == b"".join([*FRAMES, DONE])


async def test_a_client_that_leaves_while_paused_does_not_hang_the_drain(either_stage: Stage) -> None:
    frames = [b"data: %06d %b\n\n" % (number, b"x" * 20_000) for number in range(300)]
    either_stage.upstream.expect(chunked([*frames, DONE]))
    running = either_stage.run()
    await until(lambda: either_stage.client.channel.pauses > 0)
    either_stage.client.leave()
    end = await asyncio.wait_for(running, 10)
    assert isinstance(end, ClientLeft) and end.drained is Drained.ENDED
    assert b"".join(either_stage.meter.fed) == b"".join([*frames, DONE])  # all of it was counted
    assert end.progress.sent_bytes < sum(map(len, frames))
    await until(lambda: either_stage.outbound.state().idle == 1)


async def test_a_client_that_leaves_before_the_head_is_drained_too(stage: Stage) -> None:
    answer = asyncio.Event()
    stage.upstream.expect(Script([Hold(answer), *chunked([*FRAMES, DONE]).steps]))
    running = stage.run()
    await until(lambda: len(stage.upstream.requests) == 1)
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    answer.set()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.ENDED and end.body is None
    assert end.progress.dispatched and stage.client.channel.status is None and stage.meter.done


async def test_a_whole_body_is_drained_for_its_usage(stage: Stage) -> None:
    answer = asyncio.Event()
    stage.upstream.expect(Script([Hold(answer), *whole(b'{"usage":1}').steps]))
    running = stage.run(stream=False)
    await until(lambda: len(stage.upstream.requests) == 1)
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    answer.set()
    end = await running
    assert isinstance(end, ClientLeft) and end.body == b'{"usage":1}' and stage.client.channel.status is None


async def test_draining_is_bounded_in_frames(stage: Stage) -> None:
    stage.upstream.expect(chunked(FRAMES * 100, gap_s=0.0005, tail=[Silence()]))
    running = stage.run(PumpPolicy(drain_frames=10))
    await stage.client.read()
    stage.client.leave()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT and end.progress.dispatched
    assert 10 < stage.meter.frames < 3000
    await stage.upstream.requests[0].left.wait()


@pytest.mark.parametrize("drain_s", [0.0, 0.1])
async def test_draining_is_bounded_in_time(stage: Stage, drain_s: float) -> None:
    stage.upstream.expect(chunked(FRAMES, tail=[Silence()]))
    running = stage.run(PumpPolicy(drain_s=drain_s))
    await stage.client.read()
    stage.client.leave()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT
    await stage.upstream.requests[0].left.wait()
    assert stage.outbound.state() == (0, 0, 0, 0)


USAGE = b'data: {"usage":{}}\n\n'


async def left_after(stage: Stage, *frames: bytes, leaves: ClientLeaves, hides: bool = False) -> ClientLeft:
    """The client leaves once it has these frames; more would follow, to [DONE]."""
    stage.meter.hides = hides
    gone = asyncio.Event()
    stage.upstream.expect(chunked(frames, tail=[Hold(gone), *(Send(chunk(frame)) for frame in (USAGE, DONE)), Send(LAST_CHUNK)]))
    running = stage.run(leaves=leaves)
    await stage.client.read()
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    gone.set()
    end = await running
    assert isinstance(end, ClientLeft)
    return end


@pytest.mark.parametrize("leaves, hides, reported, drained", [
    ("auto", False, True, Drained.CUT),  # nothing is left to learn
    ("auto", True, True, Drained.ENDED),
    ("auto", False, False, Drained.ENDED),
    ("drain", False, True, Drained.ENDED),
    ("cancel", True, False, Drained.CUT),
    ("void", True, False, Drained.CUT),
])  # fmt: skip
async def test_what_becomes_of_a_stream_whose_client_left(
    stage: Stage, leaves: ClientLeaves, hides: bool, reported: bool, drained: Drained
) -> None:
    frames = [USAGE, *FRAMES] if reported else FRAMES
    end = await left_after(stage, *frames, leaves=leaves, hides=hides)
    assert end.drained is drained and stage.meter.done == (drained is Drained.ENDED)
    if drained is Drained.CUT:
        await stage.upstream.requests[0].left.wait()


@pytest.mark.parametrize("leaves, drained", [
    ("auto", Drained.ENDED), ("drain", Drained.ENDED), ("cancel", Drained.CUT), ("void", Drained.CUT),
])  # fmt: skip
async def test_what_becomes_of_a_body_whose_client_left(stage: Stage, leaves: ClientLeaves, drained: Drained) -> None:
    answer = asyncio.Event()
    stage.upstream.expect(Script([Hold(answer), *whole(b'{"usage":1}').steps]))
    running = stage.run(stream=False, leaves=leaves)
    await until(lambda: len(stage.upstream.requests) == 1)
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    answer.set()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is drained
    assert end.body == (b'{"usage":1}' if drained is Drained.ENDED else None)


@pytest.mark.parametrize("hides, most", [(False, 25), (True, 55)])
async def test_a_model_that_thinks_unseen_is_waited_for_longer(stage: Stage, hides: bool, most: int) -> None:
    stage.meter.hides = hides
    stage.upstream.expect(chunked(FRAMES * 100, gap_s=0.0005, tail=[Silence()]))
    running = stage.run(PumpPolicy(drain_frames=10, hidden_times=4))
    await stage.client.read()
    stage.client.leave()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT
    assert most - 15 <= stage.meter.frames <= most


async def test_and_longer_in_time(stage: Stage) -> None:
    stage.ticker = ticker = HandTicker()
    stage.meter.hides = True
    stage.upstream.expect(chunked(FRAMES, tail=[Silence()]))
    running = stage.run(PumpPolicy(drain_s=15, hidden_times=4))
    await stage.client.read()
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    ticker.now = asyncio.get_running_loop().time()
    for seconds in (16, 43):
        ticker.advance(seconds)
        await asyncio.sleep(0)
        assert not running.done()
    ticker.advance(2)
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT


async def test_drains_are_bounded_in_number(stage: Stage) -> None:
    policy = PumpPolicy(drains=Drains(1))
    go_on = asyncio.Event()
    stage.upstream.always(chunked(FRAMES, tail=[Hold(go_on), Send(chunk(DONE) + LAST_CHUNK)]))
    first = stage.run(policy)
    await stage.client.read()
    stage.client.leave()
    await until(lambda: policy.drains.under_way == 1)
    other = replace(stage, client=await Client.connect(), meter=FrameMeter())
    running = other.run(policy)
    await other.client.read()
    other.client.leave()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.CUT
    assert policy.drains.under_way == 1 and not first.done()
    go_on.set()
    end = await first
    assert isinstance(end, ClientLeft) and end.drained is Drained.ENDED
    assert policy.drains.under_way == 0
    await other.client.stop()


async def test_a_cancelled_drain_leaves_its_place(stage: Stage) -> None:
    policy = PumpPolicy()
    stage.upstream.expect(chunked(FRAMES, tail=[Silence()]))
    running = stage.run(policy)
    await stage.client.read()
    stage.client.leave()
    await until(lambda: policy.drains.under_way == 1)
    running.cancel()
    await asyncio.wait([running])
    assert policy.drains.under_way == 0 and stage.outbound.state() == (0, 0, 0, 0)


@pytest.mark.parametrize("gap_s", [0.0, 0.03])
async def test_usage_behind_done_is_read_however_it_is_cut(stage: Stage, gap_s: float) -> None:
    stage.upstream.expect(chunked([*FRAMES, DONE, USAGE], gap_s=gap_s))
    end = await stage.run()
    assert isinstance(end, Finished) and stage.meter.reported
    end.release()
    assert await stage.client.read_all() == b"".join([*FRAMES, DONE, USAGE])


@pytest.mark.parametrize("way", [Silence(), Close(), Reset()], ids=repr)
async def test_usage_that_does_not_come_behind_done_is_not_waited_for(stage: Stage, way: Silence | Close | Reset) -> None:
    stage.upstream.expect(chunked([*FRAMES, DONE], tail=[Wait(0.02), way]))
    end = await stage.run(PumpPolicy(late_usage_s=0.1))
    assert isinstance(end, Finished)
    end.release()
    assert await stage.client.read_all() == b"".join([*FRAMES, DONE])


async def test_the_provider_breaks_while_draining(stage: Stage) -> None:
    gone = asyncio.Event()
    stage.upstream.expect(chunked(FRAMES, tail=[Hold(gone), Close()]))
    running = stage.run()
    await stage.client.read()
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)
    gone.set()
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.BROKE


async def test_a_client_that_left_before_it_was_written_costs_nothing(stage: Stage) -> None:
    running = stage.run()
    await asyncio.sleep(0)  # dialling
    stage.client.channel.gone = True
    stage.client.channel.connection_lost(None)
    end = await running
    assert isinstance(end, ClientLeft) and end.drained is Drained.NOT_DISPATCHED and not end.progress.dispatched
    end = await stage.run()
    assert isinstance(end, ClientLeft) and end.drained is Drained.NOT_DISPATCHED
    await asyncio.sleep(0.05)
    assert not stage.upstream.requests


async def test_a_reader_that_takes_nothing_is_treated_as_gone(stage: Stage) -> None:
    stage.upstream.expect(chunked([*([b"data: " + b"x" * 20_000 + b"\n\n"] * 300), DONE]))
    running = stage.run(PumpPolicy(write_timeout_s=0.1))
    end = await asyncio.wait_for(running, 10)
    assert isinstance(end, ClientLeft) and end.drained is Drained.ENDED and stage.meter.done
    await until(lambda: stage.client.channel.gone)


async def test_a_reader_that_takes_a_little_is_not(stage: Stage) -> None:
    """Paused for far longer than the limit, but never without taking some."""
    stage.ticker = ticker = HandTicker()
    stage.upstream.expect(chunked([b"data: " + b"x" * 3_000_000 + b"\n\n", *FRAMES], tail=[Silence()]))
    running = stage.run(PumpPolicy(write_timeout_s=30))
    channel = stage.client.channel
    await until(lambda: channel.pauses > 0)
    for _ in range(20):
        level = channel.buffered()
        async with asyncio.timeout(10):
            while channel.buffered() == level:
                await stage.client.read()
        ticker.advance(29)
    assert channel.pauses == 1 and not channel.gone and not running.done()
    ticker.advance(29)
    ticker.advance(29)
    await until(lambda: channel.gone)
    running.cancel()
    await asyncio.wait([running])


async def test_a_cancelled_pump_ends_its_call(stage: Stage) -> None:
    stage.upstream.expect(chunked(FRAMES, tail=[Silence()]))
    running = stage.run()
    await stage.client.read()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await stage.upstream.requests[0].left.wait()
    assert stage.outbound.state() == (0, 0, 0, 0)
    stage.client.leave()
    await until(lambda: stage.client.channel.gone)


async def test_a_bug_in_the_meter_is_a_broken_upstream(stage: Stage, loop_errors: LoopErrors) -> None:
    def bug(chunk: bytes) -> tuple[bytes, bool]:
        raise RuntimeError("bug in a meter")

    stage.meter.feed = bug  # type: ignore[method-assign]
    stage.upstream.expect(chunked(FRAMES))
    end = await stage.run()
    assert isinstance(end, UpstreamBroke) and end.progress.head_sent
    assert len(loop_errors.seen) == 1
    loop_errors.seen.clear()


async def test_nothing_is_watched_once_all_is_over(stage: Stage) -> None:
    watched = len(stage.ticker._watchers)
    stage.upstream.always(chunked([*FRAMES, DONE]))
    for _ in range(20):
        client = await Client.connect()
        stage.client, stage.meter = client, FrameMeter()
        end = await stage.run()
        assert isinstance(end, Finished)
        end.release()
        assert (await client.read_all()).endswith(DONE)
        await client.stop()
    await until(lambda: len(stage.ticker._watchers) == watched)
    assert stage.upstream.connections == 1


async def test_echo_through_the_pump(stage: Stage) -> None:
    echo = Echo(lambda: 0)
    body = b'{"messages":[{"role":"user","content":"' + b"word " * 5000 + b'"}],"stream":true}'
    running = asyncio.ensure_future(
        pump(
            lambda sink: echo.call(body, sink), stage.client.channel, stage.meter, PumpPolicy(),
            begin=begin, stream=True, ticker=stage.ticker,
        )
    )  # fmt: skip
    await until(lambda: stage.client.channel.pauses > 0)  # a slow reader stops it too
    reading = asyncio.ensure_future(stage.client.read_all())
    end = await running
    assert isinstance(end, Finished)
    end.release()
    assert (await reading).count(b'"content":"word') == 5000
