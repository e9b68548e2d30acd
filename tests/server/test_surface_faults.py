"""Faults on the surfaces beside chat: providers that break at every byte, clients that leave at every event of a long stream.

One row with the right outcome, never half an answer as a whole one, and everything back to rest (house.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest

from tests.gateway import until
from tests.server.house import HANG_S, LAST, Client, House
from tests.server.http1 import Heard
from tests.server.test_client_faults import EVENTS, LEAVING, OPENING, gone
from tests.server.test_provider_faults import BREAKS
from tests.upstream.script import LAST_CHUNK, Hold, Script, Send, Silence, chunk, head, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESPONSE_USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
END = b'"response.completed"'


@dataclass(frozen=True)
class Kind:
    """What is asked with `name` in it, and a good answer. `events`: it is streamed. `row`: input and output tokens."""

    path: bytes
    ask: Callable[[str], dict[str, Any]]
    body: Callable[[str], bytes]
    row: tuple[int, int] = (9, 4)
    events: bool = False

    def request(self, house: House, name: str) -> bytes:
        body = {"model": "scripted-llm", **self.ask(name), **({"stream": True} if self.events else {})}
        return house.post(orjson.dumps(body), path=self.path, extra=b"X-End-User: %b\r\n" % name.encode())

    def wire(self, name: str) -> bytes:
        """The provider's whole answer, chunked where it is a stream, an event each."""
        body = self.body(name)
        if not self.events:
            return head(200, [("content-type", "application/json"), ("content-length", str(len(body)))]) + body
        return OPENING + b"".join(chunk(event) for event in frames(body)) + LAST_CHUNK


def frames(body: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]]


def response(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"resp_{name}", "object": "response", "usage": None, **more}


def event(number: int, kind: str, **more: Any) -> bytes:
    data = orjson.dumps({"type": kind, "sequence_number": number, **more})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def responses(name: str, words: int = 1) -> bytes:
    told = [event(number + 1, "response.output_text.delta", delta=f"word{number} ") for number in range(words)]
    done = response(name, status="completed", usage=RESPONSE_USAGE)
    return b"".join(
        [
            event(0, "response.created", response=response(name)),
            *told,
            event(words + 1, "response.completed", response=done),
        ]
    )


def text(content: str, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if usage else [{"text": content, "index": 0}]
    return b"data: %b\n\n" % orjson.dumps({"choices": choices, "usage": usage})


def completions(name: str, words: int = 1) -> bytes:
    return b"".join([*(text(f"word{number} ") for number in range(words)), text("", USAGE), b"data: [DONE]\n\n"])


def _whole(**answer: Any) -> Callable[[str], bytes]:
    return lambda name: orjson.dumps(answer)


_PROMPT = {"prompt": "Hello", "stream_options": {"include_usage": True}}
KINDS = {
    "responses stream": Kind(b"/v1/responses", lambda name: {"input": "Hello"}, responses, events=True),
    "responses": Kind(b"/v1/responses", lambda name: {"input": "Hello"}, lambda name: orjson.dumps(response(name, usage=RESPONSE_USAGE))),
    "completions stream": Kind(b"/v1/completions", lambda name: _PROMPT, completions, events=True),
    "completions": Kind(b"/v1/completions", lambda name: {"prompt": "Hello"}, _whole(choices=[{"text": "Hi"}], usage=USAGE)),
    "embeddings": Kind(b"/v1/embeddings", lambda name: {"input": "Hello"}, _whole(data=[], usage={"prompt_tokens": 9, "total_tokens": 9}),
                       (9, 0)),
    "moderations": Kind(b"/v1/moderations", lambda name: {"input": "Hello"}, _whole(results=[]), (0, 0)),
}  # fmt: skip
STREAMS = {name: kind for name, kind in KINDS.items() if kind.events}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_breaking_at_every_byte(house: House, kind: Kind, how: str) -> None:
    size = len(kind.wire("0"))
    heard: dict[int, Heard] = {}

    async def one(cut: int) -> None:
        heard[cut] = await house.talk(kind.request(house, str(cut)) + LAST)

    for cut in range(size + 1):
        data = kind.wire("0")[:cut]
        house.upstream.expect(raw(data, BREAKS[how]) if cut else raw(BREAKS[how]))
        await one(cut)
    rows = {int(row["end_user"]): row for row in await house.new_rows(size + 1)}
    assert len(rows) == size + 1
    for cut, row in rows.items():
        _honest(kind, cut, heard[cut], row)
    assert {row["outcome"] for row in rows.values()} == {"ok", "upstream_error"}
    await house.provider_left()


def _honest(kind: Kind, cut: int, heard: Heard, row: dict[str, Any]) -> None:
    data, body = kind.wire("0"), kind.body("0")
    answer = heard.answers[0]
    where = (cut, data[max(0, cut - 20) : cut], heard.data, row["outcome"], row["error_code"])
    assert heard.statuses[1:] == [200], where  # the client's connection goes on
    if row["outcome"] == "ok":
        assert (answer.status, answer.complete, answer.body) == (200, True, body), where
        assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("provider", *kind.row), where
        return
    assert row["outcome"] == "upstream_error" and cut < len(data), where
    if answer.status != 200:
        assert (answer.status, answer.code) == (502, "provider_response_broken"), where
        return
    assert kind.events and answer.complete and END not in answer.body and b"[DONE]" not in answer.body, where
    *passed, last = frames(answer.body)
    assert frames(body)[: len(passed)] == passed, where  # whole events of the provider's, unchanged
    assert last.startswith(b"event: error\n") == (kind.path == b"/v1/responses"), where
    assert orjson.loads(last.partition(b"data: ")[2])["error"]["code"] == "provider_response_broken", where


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("kind", STREAMS.values(), ids=STREAMS)
async def test_leaving_at_every_event_of_a_stream(house: House, kind: Kind, leave: Callable[[Client], None]) -> None:
    """The provider goes on and reports: the row has its numbers, and says who left."""
    make = {b"/v1/responses": responses, b"/v1/completions": completions}[kind.path]

    async def one(count: int, go_on: asyncio.Event) -> None:
        client = await house.connect()
        await client.send(kind.request(house, str(count)))
        await (client.until(b"}\n\n", count) if count else client.until(b"\r\n\r\n"))
        port = client.sock.getsockname()[1]
        leave(client)
        await until(partial(gone, house, port), "the gateway sees that the client left", HANG_S)
        go_on.set()

    for count in range(EVENTS - 1):  # the last ones are held until all is settled
        events, go_on = frames(make(f"{kind.path.decode()[4:]}{count}", EVENTS - 2)), asyncio.Event()
        before, after = b"".join(map(chunk, events[:count])), b"".join(map(chunk, events[count:]))
        house.upstream.expect(Script([Send(OPENING + before), Hold(go_on), Send(after + LAST_CHUNK)]))
        await one(count, go_on)
    rows = await house.new_rows(EVENTS - 1)
    assert {row["end_user"] for row in rows} == {str(count) for count in range(EVENTS - 1)}
    assert {row["outcome"] for row in rows} == {"client_abort"}
    assert {(row["usage_source"], row["input_tokens"], row["output_tokens"]) for row in rows} == {("provider", 9, 4)}
    await house.provider_left()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_leaving_where_the_provider_does_not_go_on(house: House, kind: Kind) -> None:
    """The drain has an end: then the provider's connection is cut, and what came is estimated."""
    begun = chunk(frames(kind.body("0"))[0]) if kind.events else b""
    house.upstream.expect(raw(kind.wire("0").partition(b"\r\n\r\n")[0] + b"\r\n\r\n", begun, Silence()))
    client = await house.connect()
    await client.send(kind.request(house, "0"))
    await (client.until(b"}\n\n") if kind.events else house.asked(1))
    client.reset()
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "client_abort"
    assert row["usage_source"] == "estimated"
    await asyncio.wait_for(house.upstream.requests[0].left.wait(), HANG_S)
    await house.provider_left()
