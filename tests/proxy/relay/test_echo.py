"""The built-in llm: its answers, its counts, its manners as an upstream."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from proxy.outbound.sink import Broken
from proxy.relay.echo import Echo
from tests.proxy.outbound.sinks import Collected, LoopErrors

ECHO = Echo(lambda: 1_767_225_600)


async def ask(request: dict[str, Any] | bytes) -> Collected:
    sink = Collected()
    ECHO.call(request if isinstance(request, bytes) else orjson.dumps(request), sink)
    assert sink.status is None  # nothing is said before the call returns
    assert await sink.ended is None
    return sink


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def events(sink: Collected) -> list[dict[str, Any]]:
    assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in sink.pieces)
    assert sink.pieces[-1] == b"data: [DONE]\n\n"
    return [orjson.loads(piece[6:]) for piece in sink.pieces[:-1]]


async def test_it_says_the_last_user_message() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        user("first"),
        {"role": "assistant", "content": "first"},
        user("  Grüße  aus\nBerlin! "),
    ]
    answer = await ask({"model": "echo-1", "messages": messages})
    body = orjson.loads(answer.body)
    assert answer.headers == [(b"content-type", b"application/json")]
    assert body["id"].startswith("chatcmpl-echo-") and (body["object"], body["created"], body["model"]) == (
        "chat.completion", 1_767_225_600, "echo-1",
    )  # fmt: skip
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "Grüße  aus\nBerlin!" and choice["finish_reason"] == "stop"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"], body["usage"]["total_tokens"]) == (
        7,
        3,
        10,
    )


async def test_text_parts_are_text_and_images_have_no_words() -> None:
    parts = [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": "data:x"}},
        {"type": "text", "text": "this"},
    ]
    body = orjson.loads((await ask({"messages": [user(parts)]})).body)
    assert body["choices"][0]["message"]["content"] == "what is\nthis" and body["usage"]["prompt_tokens"] == 3


async def test_without_words_it_says_what_it_needs() -> None:
    body = orjson.loads((await ask({"messages": [{"role": "system", "content": "x"}, user([])]})).body)
    assert "message" in body["choices"][0]["message"]["content"] and body["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_bound_on_its_output(field: str) -> None:
    request = {"messages": [user("one two three")], field: 2}
    body = orjson.loads((await ask(request)).body)
    assert body["choices"][0]["message"]["content"].split() == ["one", "two"]
    assert body["choices"][0]["finish_reason"] == "length" and body["usage"]["completion_tokens"] == 2
    streamed = events(await ask(request | {"stream": True}))
    assert streamed[-1]["choices"][0]["finish_reason"] == "length"
    exact = orjson.loads((await ask(request | {field: 3})).body)
    assert exact["choices"][0]["finish_reason"] == "stop"


async def test_a_stream_with_usage_only_where_asked() -> None:
    request = {"messages": [user("one two three")], "stream": True}
    plain = events(await ask(request))
    assert not any("usage" in event for event in plain)
    asked = events(await ask(request | {"stream_options": {"include_usage": True}}))
    assert all(event["usage"] is None for event in asked[:-1])
    assert asked[-1]["choices"] == [] and asked[-1]["usage"]["completion_tokens"] == 3
    for stream in (plain, asked[:-1]):
        assert {event["object"] for event in stream} == {"chat.completion.chunk"}
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in stream) == "one two three"
        assert [event["choices"][0]["finish_reason"] for event in stream] == [None] * 4 + ["stop"]


async def test_several_choices_are_counted_each() -> None:
    request = {"messages": [user("a b")], "n": 3}
    body = orjson.loads((await ask(request)).body)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2] and body["usage"]["completion_tokens"] == 6
    stream = events(await ask(request | {"stream": True, "stream_options": {"include_usage": True}}))
    for index in range(3):
        mine = [event["choices"][0] for event in stream[:-1] if event["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in mine) == "a b"
        assert mine[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        (b"{", None), (b"[]", None), (b"\xff", None), ({}, "messages"), ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"), ({"messages": ["hi"]}, "messages"), ({"messages": [user("a")], "n": 0}, "n"),
        ({"messages": [user("a")], "n": 129}, "n"), ({"messages": [user("a")], "n": True}, "n"),
        ({"messages": [user("a")], "max_tokens": 0}, "max_tokens"),
        ({"messages": [user("a")], "max_tokens": 1.5}, "max_tokens"),
        ({"messages": [user("a")], "stream_options": 1}, "stream_options"),
    ],
)  # fmt: skip
async def test_what_it_cannot_answer(request_body: Any, param: str | None) -> None:
    answer = await ask(request_body)
    assert answer.status == 400
    error = orjson.loads(answer.body)["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param and error["message"]


async def test_pause_and_resume() -> None:
    sink = Collected()
    running = ECHO.call(orjson.dumps({"messages": [user("word " * 50)], "stream": True}), sink)
    sink.on_piece = lambda piece: running.pause()
    await sink.started.wait()
    for count in range(1, 4):
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(sink.pieces) == count
        running.resume()
        running.resume()
    sink.on_piece = lambda piece: None
    running.resume()
    assert await sink.ended is None and len(events(sink)) == 52
    running.resume()
    running.cancel()


async def test_cancel() -> None:
    sink = Collected()
    running = ECHO.call(orjson.dumps({"messages": [user("word " * 50)], "stream": True}), sink)
    sink.on_piece = lambda piece: running.cancel()
    await sink.started.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    running.resume()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(sink.pieces) == 1 and not sink.ended.done()


async def test_a_bug_in_the_sink_ends_the_call(loop_errors: LoopErrors) -> None:
    sink = Collected()
    ECHO.call(orjson.dumps({"messages": [user("a b")], "stream": True}), sink)

    def bug(piece: bytes) -> None:
        raise RuntimeError("bug in a sink")

    sink.on_piece = bug
    assert await sink.ended is Broken.RESET and len(sink.pieces) == 1
    assert len(loop_errors.seen) == 1
    loop_errors.seen.clear()
