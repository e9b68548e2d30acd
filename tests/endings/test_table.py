"""The table of endings (proxy/flow/outcomes.py) on real streams and bodies: every row of it with every provider's shape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.endings.house import POLICIES, EndingsHouse
from tests.endings.shapes import DONE, RUNNING, Shape, absurd, data_of, gone, halved, shapes, zero
from tests.server.http1 import Heard
from tests.upstream.script import (
    LAST_CHUNK,
    Close,
    Hold,
    Reset,
    Script,
    Send,
    Silence,
    Step,
    chunk,
    chunked,
    raw,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPES = {shape.name: shape for shape in shapes()}
ERROR = {"message": "It broke.", "type": "server_error", "code": "oops"}
ERROR_BODY = orjson.dumps({"error": ERROR})
ERROR_EVENT = b"data: %b\n\n" % ERROR_BODY
USAGE = {"prompt_tokens": 21, "completion_tokens": 6, "total_tokens": 27}
ERROR_WITH_USAGE = orjson.dumps({"error": ERROR, "usage": USAGE})
# A client that reads nothing has this much before it: far more than the kernel keeps for it.
PADDING = [b": " + b"x" * 60_000 + b"\n\n"] * 80

REPORTED = (-1, -1, -1)  # the tokens that the provider reports
PROMPT, TEXT = (1, 0, 0), (1, 0, 1)  # estimated: of the prompt, and of what was said
NOTHING = (0, 0, 0)
OF_ERROR = (21, 0, 6)

Make = Callable[[Shape], Script]
Tokens = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """`told`: what the client sees. `running`: source and tokens where usage comes with every chunk, if they differ."""

    script: Make
    outcome: str
    source: str
    tokens: Tokens
    told: str
    code: str | None = None
    running: tuple[str, Tokens] | None = None


def _until(frames: tuple[bytes, ...], *rest: Step) -> Script:
    return chunked(frames, tail=rest)


def _behind_done(shape: Shape) -> Script:
    """In writes of their own, so that [DONE] comes by itself."""
    frames = [frame for frame in shape.with_usage(gone) if frame != DONE]
    late = [b'data: {"choices":[],"usage":%b}\n\n' % orjson.dumps(_usage(shape))]
    return chunked([*frames, DONE, *late], gap_s=0.01)


def _usage(shape: Shape) -> dict[str, Any]:
    data = data_of(shape.frames[shape.usage_at])
    return dict(data.get("usage") or data["x_groq"]["usage"])


def _twice(shape: Shape) -> Script:
    at = shape.usage_at
    earlier = shape.with_usage(halved)[at]
    return chunked([*shape.frames[:at], earlier, *shape.frames[at:]])


def _half_of_next(shape: Shape) -> Script:
    frames, at = shape.frames, shape.said[2]
    return _until((*frames[: at + 1], frames[at + 1][:20]), Reset())


STREAMS = {
    "complete": Case(lambda s: chunked(s.frames), "ok", "provider", REPORTED, "answer"),
    "complete without usage": Case(lambda s: chunked(s.with_usage(gone)), "ok", "estimated", TEXT, "answer"),
    "usage twice": Case(_twice, "ok", "provider", REPORTED, "answer"),
    "usage behind [DONE]": Case(_behind_done, "ok", "provider", REPORTED, "answer"),
    "usage zero": Case(lambda s: chunked(s.with_usage(zero)), "ok", "provider", NOTHING, "answer"),
    "cut before the answer": Case(lambda s: raw(Close()), "upstream_error", "none", NOTHING, "error", "reset"),
    "cut before content": Case(
        lambda s: _until((), Close()), "upstream_error", "none", NOTHING, "event", "early_close"
    ),
    "cut within content": Case(
        _half_of_next, "upstream_error", "estimated", TEXT, "event", "reset", ("provider", (50, 0, 3))
    ),
    "cut after content": Case(
        lambda s: _until(s.until_said, Close()), "upstream_error", "estimated", TEXT, "event", "early_close",
        ("provider", (50, 0, 8)),
    ),
    "ends without its end": Case(
        lambda s: chunked(s.until_said), "upstream_error", "estimated", TEXT, "event", "truncated", ("provider", (50, 0, 8))
    ),
    "error event": Case(
        lambda s: chunked([*s.until_said, ERROR_EVENT]), "upstream_error", "estimated", TEXT, "event", "error_in_stream",
        ("provider", (50, 0, 8)),
    ),
    "error event, then [DONE]": Case(
        lambda s: chunked([*s.until_said, ERROR_EVENT, DONE]), "upstream_error", "estimated", TEXT, "error and [DONE]",
        "error_in_stream", ("provider", (50, 0, 8)),
    ),
    "error event before content": Case(
        lambda s: chunked([ERROR_EVENT]), "upstream_error", "none", NOTHING, "event", "error_in_stream"
    ),
    "error event with usage": Case(
        lambda s: chunked([*s.until_said, b"data: %b\n\n" % ERROR_WITH_USAGE]), "upstream_error", "provider", OF_ERROR,
        "event", "error_in_stream",
    ),
    "timeout before the answer": Case(
        lambda s: raw(Silence()), "upstream_error", "none", NOTHING, "error", "timeout_first_byte"
    ),
    "timeout within content": Case(
        lambda s: _until(s.until_said, Silence()), "upstream_error", "estimated", TEXT, "event", "timeout_idle",
        ("provider", (50, 0, 8)),
    ),
    "HTTP error": Case(
        lambda s: whole(ERROR_BODY, status=500), "upstream_error", "none", NOTHING, "error", "http_500"
    ),
    "HTTP error with usage": Case(
        lambda s: whole(ERROR_WITH_USAGE, status=400), "upstream_error", "provider", OF_ERROR, "error", "http_400"
    ),
    "200 with an error body": Case(
        lambda s: whole(ERROR_BODY), "upstream_error", "none", NOTHING, "error body", "error_in_body"
    ),
    "200 with an error body and usage": Case(
        lambda s: whole(ERROR_WITH_USAGE), "upstream_error", "provider", OF_ERROR, "error body", "error_in_body"
    ),
}  # fmt: skip


def _in_two(body: bytes, *rest: Step) -> Script:
    """Half of the body, then something else."""
    opening = whole(body).steps[0]
    assert isinstance(opening, Send)
    return Script([Send(opening.data[: -len(body) // 2]), *rest])


BODIES = {
    "complete": Case(lambda s: whole(s.body()), "ok", "provider", REPORTED, "body"),
    "complete without usage": Case(lambda s: whole(s.body(gone)), "ok", "estimated", TEXT, "body"),
    "usage zero": Case(lambda s: whole(s.body(zero)), "ok", "provider", NOTHING, "body"),
    "cut before the answer": Case(lambda s: raw(Reset()), "upstream_error", "none", NOTHING, "error", "reset"),
    "cut within the answer": Case(
        lambda s: _in_two(s.body(), Close()), "upstream_error", "none", NOTHING, "error", "early_close"
    ),
    "timeout before the answer": Case(
        lambda s: raw(Silence()), "upstream_error", "none", NOTHING, "error", "timeout_first_byte"
    ),
    "timeout within the answer": Case(
        lambda s: _in_two(s.body(), Silence()), "upstream_error", "none", NOTHING, "error", "timeout_idle"
    ),
    **{name: STREAMS[name] for name in STREAMS if name.startswith(("HTTP", "200"))},
}


async def ended(house: EndingsHouse, case: Case, *, stream: bool) -> None:
    house.answers({name: case.script(shape) for name, shape in SHAPES.items()})

    async def one(name: str) -> Heard:
        return await house.talk(house.ask(SHAPES[name].reader, name, stream=stream))

    heard = await house.together(one, SHAPES)
    rows = await house.rows_of(SHAPES)
    for name, shape in SHAPES.items():
        source, tokens = (case.source, case.tokens) if not _runs(shape, case) else case.running or ("", NOTHING)
        check(rows[name], shape, case.outcome, source, tokens, case.code)
        TOLD[case.told](heard[name], shape)
    await house.forget(SHAPES)


def _runs(shape: Shape, case: Case) -> bool:
    return shape is RUNNING and case.running is not None


def check(row: dict[str, Any], shape: Shape, outcome: str, source: str, tokens: Tokens, code: str | None = None) -> None:
    assert (row["outcome"], row["usage_source"], row["error_code"]) == (outcome, source, code), (shape.name, row)
    found = (row["input_tokens"], row["cached_tokens"], row["output_tokens"])
    if source == "estimated":
        assert [count > 0 for count in found] == [count > 0 for count in tokens], (shape.name, found)
    else:
        assert found == (shape.tokens if tokens == REPORTED else tokens), (shape.name, found)


def owed(row: dict[str, Any], policy: str) -> None:
    """What was consumed is known under `void`, too; it is not charged."""
    free = policy == "void"
    assert row["charge_pusd"] == (0 if free else row["list_pusd"]) and row["list_pusd"] > 0, row
    assert (row["charge_kind"], row["charge_reason"]) == (("none", "void") if free else ("usage", "")), row


# ---- what the client is told


def _answer(heard: Heard, shape: Shape) -> None:
    (answer,) = heard.answers
    assert (answer.status, answer.complete) == (200, True), shape.name
    assert b'"error"' not in answer.body.replace(b'"error":null', b""), shape.name
    assert _frames(answer.body)[-1] in (*shape.frames, DONE), shape.name


def _event(heard: Heard, shape: Shape) -> None:
    (answer,) = heard.answers
    assert (answer.status, answer.complete) == (200, True), shape.name
    assert data_of(_frames(answer.body)[-1])["error"]["message"], shape.name
    assert DONE not in answer.body, shape.name


def _error_and_done(heard: Heard, shape: Shape) -> None:
    """The provider's own bytes: the error stands before its [DONE]."""
    (answer,) = heard.answers
    assert answer.body.endswith(ERROR_EVENT + DONE), shape.name


def _error(heard: Heard, shape: Shape) -> None:
    (answer,) = heard.answers
    assert answer.status >= 400 and orjson.loads(answer.body)["error"]["message"], shape.name


def _error_body(heard: Heard, shape: Shape) -> None:
    (answer,) = heard.answers
    assert answer.status == 200 and orjson.loads(answer.body)["error"] == ERROR, shape.name


def _body(heard: Heard, shape: Shape) -> None:
    (answer,) = heard.answers
    assert (answer.status, answer.complete) == (200, True), shape.name
    assert orjson.loads(answer.body)["choices"][0]["finish_reason"] == "stop"


TOLD: dict[str, Callable[[Heard, Shape], None]] = {
    "answer": _answer, "event": _event, "error and [DONE]": _error_and_done, "error": _error, "error body": _error_body,
    "body": _body,
}  # fmt: skip


def _frames(body: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in body.split(b"\n\n") if frame.strip()]


@pytest.mark.parametrize("case", STREAMS.values(), ids=STREAMS)
async def test_stream(house: EndingsHouse, case: Case) -> None:
    await ended(house, case, stream=True)


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
async def test_body(house: EndingsHouse, case: Case) -> None:
    await ended(house, case, stream=False)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "body"])
async def test_absurd_usage_is_clamped_and_flagged(house: EndingsHouse, stream: bool) -> None:
    house.answers({
        name: chunked(shape.with_usage(absurd)) if stream else whole(shape.body(absurd)) for name, shape in SHAPES.items()
    })
    await house.together(lambda name: house.talk(house.ask(SHAPES[name].reader, name, stream=stream)), SHAPES)
    for name, row in (await house.rows_of(SHAPES)).items():
        assert (row["outcome"], row["usage_source"], row["usage_inconsistent"]) == ("ok", "provider", True), name
    await house.forget(SHAPES)


# ---- the client leaves


@dataclass(frozen=True)
class Leaving:
    """`heard`: frames that the client has when it leaves; None: it is not answered yet."""

    heard: Callable[[Shape], int | None]
    running: Tokens  # at that moment
    text: bool  # something was said by then


LEAVING = {
    "before the first byte": Leaving(lambda shape: None, NOTHING, False),
    "after the head": Leaving(lambda shape: 0, NOTHING, False),
    "mid-stream": Leaving(lambda shape: shape.said[0] + 1, (50, 0, 1), True),
    "after the last content": Leaving(lambda shape: len(shape.until_said), (50, 0, 8), True),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("leaving", LEAVING.values(), ids=LEAVING)
async def test_a_client_leaves_a_stream(house: EndingsHouse, leaving: Leaving, policy: str) -> None:
    scripts, go_on = {}, {name: asyncio.Event() for name in SHAPES}
    for name, shape in SHAPES.items():
        has = leaving.heard(shape)
        opening, *rest = chunked(shape.frames[:has] if has else (), tail=[
            Hold(go_on[name]), Send(b"".join(map(chunk, shape.frames[has or 0 :])) + LAST_CHUNK),
        ]).steps  # fmt: skip
        scripts[name] = Script([opening, *rest] if has is not None else [rest[0], opening, rest[1]])
    house.answers(scripts)

    async def one(name: str) -> None:
        shape = SHAPES[name]
        has = leaving.heard(shape)
        client = await house.connect()
        await client.send(house.ask(shape.reader, name, stream=True, policy=policy))
        if has is None:
            await asked(house, name)
        elif has == 0:
            await client.until(b"\r\n\r\n")
        else:
            await client.until(shape.frames[has - 1])
        await house.leave(client)
        go_on[name].set()

    await house.together(one, SHAPES)
    rows = await house.rows_of(SHAPES)
    for name, shape in SHAPES.items():
        knows = shape is RUNNING and leaving.running != NOTHING
        if policy == "drain" or (policy == "auto" and not knows):
            check(rows[name], shape, "client_abort", "provider", REPORTED)
        elif knows:
            check(rows[name], shape, "client_abort", "provider", leaving.running)
        else:
            check(rows[name], shape, "client_abort", "estimated", TEXT if leaving.text else PROMPT)
        owed(rows[name], policy)
    await house.forget(SHAPES)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_client_leaves_before_a_body(house: EndingsHouse, policy: str) -> None:
    go_on = {name: asyncio.Event() for name in SHAPES}
    house.answers({name: Script([Hold(go_on[name]), *whole(shape.body()).steps]) for name, shape in SHAPES.items()})

    async def one(name: str) -> None:
        client = await house.connect()
        await client.send(house.ask(SHAPES[name].reader, name, stream=False, policy=policy))
        await asked(house, name)
        await house.leave(client)
        go_on[name].set()

    await house.together(one, SHAPES)
    for name, row in (await house.rows_of(SHAPES)).items():
        drains = policy in ("auto", "drain")
        source, tokens = ("provider", REPORTED) if drains else ("estimated", PROMPT)
        check(row, SHAPES[name], "client_abort", source, tokens)
        owed(row, policy)
    await house.forget(SHAPES)


@pytest.mark.parametrize("answer, outcome, source, tokens, code", [
    (whole(ERROR_BODY, status=429), "upstream_error", "none", NOTHING, "http_429"),
    (whole(ERROR_WITH_USAGE, status=500), "upstream_error", "provider", OF_ERROR, "http_500"),
    (whole(ERROR_WITH_USAGE), "upstream_error", "provider", OF_ERROR, "error_in_body"),
    (chunked([ERROR_EVENT, DONE]), "upstream_error", "none", NOTHING, "error_in_stream"),
    (raw(Close()), "upstream_error", "none", NOTHING, "broke_unanswered"),
    (chunked([], tail=[Close()]), "client_abort", "estimated", PROMPT, None),
], ids=["429", "500 with usage", "200 error body", "error event", "cut", "cut after the head"])  # fmt: skip
async def test_what_fails_behind_a_client_that_left(
    house: EndingsHouse, answer: Script, outcome: str, source: str, tokens: Tokens, code: str | None
) -> None:
    """The provider's own word on its failure stands in the row; nobody is there for another route."""
    go_on = {name: asyncio.Event() for name in SHAPES}
    house.answers({name: Script([Hold(go_on[name]), *answer.steps]) for name in SHAPES})

    async def one(name: str) -> None:
        client = await house.connect()
        await client.send(house.ask(SHAPES[name].reader, name, stream=True))
        await asked(house, name)
        await house.leave(client)
        go_on[name].set()

    await house.together(one, SHAPES)
    for name, row in (await house.rows_of(SHAPES)).items():
        check(row, SHAPES[name], outcome, source, tokens, code)
    await house.forget(SHAPES)


async def test_a_client_stops_reading(house: EndingsHouse) -> None:
    """Taken for gone after `write_timeout_s`, and then as one that left."""
    house.answers({
        name: chunked([*shape.until_said, *PADDING, *shape.frames[len(shape.until_said) :]]) for name, shape in SHAPES.items()
    })  # fmt: skip
    clients = []

    async def one(name: str) -> None:
        client = await house.connect(receive_buffer=4096)
        clients.append(client)
        await client.send(house.ask(SHAPES[name].reader, name, stream=True))
        await client.until(b"\r\n\r\n")

    await house.together(one, SHAPES)
    for name, row in (await house.rows_of(SHAPES)).items():
        tokens = (50, 0, 8) if SHAPES[name] is RUNNING else REPORTED
        check(row, SHAPES[name], "client_abort", "provider", tokens)
    for client in clients:
        client.close()
    await house.forget(SHAPES)


async def asked(house: EndingsHouse, label: str) -> None:
    """The provider has this request."""
    async with asyncio.timeout(10):
        while not any(request.json()["user"] == label for request in house.upstream.requests):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
