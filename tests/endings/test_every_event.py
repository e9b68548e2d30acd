"""A client that leaves at every event of a 200-event stream, under each policy: one row, the right one, nothing left behind."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import orjson
import pytest

from tests.endings.house import HANG_S, POLICIES, EndingsHouse
from tests.gateway import until
from tests.server.house import Client
from tests.upstream.script import EVENT_STREAM, LAST_CHUNK, Hold, Script, Send, chunk, head

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = 200
AT_ONCE = 40
USAGE = {"prompt_tokens": 31, "completion_tokens": 196, "total_tokens": 227}


def _event(delta: dict[str, str], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % orjson.dumps({"choices": [choice], "usage": usage})


def _so_far(words: int) -> dict[str, int]:
    return {**USAGE, "completion_tokens": words, "total_tokens": USAGE["prompt_tokens"] + words}


def stream(*, running: bool) -> list[bytes]:
    """`running`: each event says the usage so far."""
    words = [
        _event({"content": f"word{number} "}, usage=_so_far(number + 1) if running else None) for number in range(EVENTS - 4)
    ]
    return [
        _event({"role": "assistant", "content": ""}, usage=_so_far(0) if running else None),
        *words,
        _event({}, "stop", USAGE if running else None),
        b"data: %b\n\n" % orjson.dumps({"choices": [], "usage": USAGE}),
        b"data: [DONE]\n\n",
    ]


STREAMS = {"usage at the end": stream(running=False), "usage with each event": stream(running=True)}
USAGE_HEARD = EVENTS - 1
assert all(len(events) == EVENTS for events in STREAMS.values())


def script(events: list[bytes], heard: int, go_on: asyncio.Event) -> Script:
    opening = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
    before, after = b"".join(map(chunk, events[:heard])), b"".join(map(chunk, events[heard:]))
    return Script([Send(opening + before), Hold(go_on), Send(after + LAST_CHUNK)])


def told(policy: str, running: bool, heard: int) -> int | None:
    """Output tokens by the provider's own word; None: it is to be estimated."""
    cut = policy in ("cancel", "void") or (policy == "auto" and running and heard > 1) or heard == USAGE_HEARD
    if not cut or heard == USAGE_HEARD:
        return USAGE["completion_tokens"]
    return min(heard - 1, USAGE["completion_tokens"]) if running and heard else None


async def leave_at(house: EndingsHouse, policy: str, events: list[bytes], counts: range) -> None:
    """Each client leaves when it has so many events; then the provider goes on."""
    go_on = asyncio.Event()
    house.answers({f"{policy}-{count}": script(events, count, go_on) for count in counts})

    async def one(count: int) -> Client:
        client = await house.connect()
        options = {"include_usage": True}
        await client.send(house.ask("openai", f"{policy}-{count}", stream=True, policy=policy, stream_options=options))
        await (client.until(b"}\n\n", count) if count else client.until(b"\r\n\r\n"))
        return client

    for client in await asyncio.gather(*map(one, counts)):
        client.reset()

    async def all_gone() -> bool:
        return not house.sockets(house.port)

    await until(all_gone, "the gateway sees that they left", HANG_S)
    go_on.set()
    await house.rows_of([f"{policy}-{count}" for count in counts])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("how", STREAMS)
async def test_leaving_at_every_event(house: EndingsHouse, how: str, policy: str) -> None:
    gateway = house.running.gateway
    await house.quiet()
    await house.provider_left()
    before = alive()

    for first in range(0, EVENTS, AT_ONCE):
        await leave_at(house, policy, STREAMS[how], range(first, first + AT_ONCE))

    rows = await house.rows_of([f"{policy}-{count}" for count in range(EVENTS)])
    outputs = []
    for count in range(EVENTS):
        row = rows[f"{policy}-{count}"]
        assert row["outcome"] == "client_abort", count
        output = told(policy, how == "usage with each event", count)
        if output is not None:
            found = (row["usage_source"], row["input_tokens"], row["output_tokens"])
            assert found == ("provider", USAGE["prompt_tokens"], output), count
        else:
            assert row["usage_source"] == "estimated" and row["input_tokens"] > 0, count
            assert (row["output_tokens"] > 0) == (count > 1), count
            outputs.append(row["output_tokens"])
    assert outputs == sorted(outputs)  # who heard more, had more

    await house.forget(rows)
    await house.quiet()
    await house.provider_left()
    assert not gateway.desk.in_flight and gateway.load.in_flight == 0
    assert gateway.flow.desks.policy.drains.under_way == 0 and sum(gateway.upstream_pool.state()) == 0

    async def back() -> bool:
        return alive() <= before

    await until(back, f"as before: {before}", HANG_S)

def alive() -> Counter[str]:
    """Tasks by what they run, and open files by kind. Without connections to the stores (unix sockets): pools keep some."""
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    tcp = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    files: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            kind, _, inode = os.readlink(f"/proc/self/fd/{name}").partition(":")
        except FileNotFoundError:  # of this listing itself
            continue
        files["tcp" if inode.strip("[]") in tcp else "unix socket" if kind == "socket" else "file"] += 1
    del files["unix socket"]
    return tasks + files
