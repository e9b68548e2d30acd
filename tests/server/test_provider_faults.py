"""Providers that break: at every byte, in every way of the list. One row with the right outcome; never half an answer as a whole one."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, LAST, House
from tests.server.http1 import Heard
from tests.upstream.script import (
    EVENT_STREAM,
    LAST_CHUNK,
    Close,
    Flood,
    Headers,
    Reset,
    Script,
    Send,
    Silence,
    Step,
    chunk,
    chunked,
    head,
    raw,
    until_close,
    whole,
)
from tests.upstream.server import Recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = [b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % word for word in (b"one", b"two", b"three")]
OPENING = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
STREAM = OPENING + b"".join(map(chunk, [*FRAMES, DONE])) + LAST_CHUNK
WHOLE = head(200, [("content-type", "application/json"), ("content-length", str(len(ANSWER)))]) + ANSWER
BREAKS: dict[str, Step] = {"RST": Reset(), "FIN": Close()}
ENOUGH = STREAM.index(b"[DONE]") + len(b"[DONE]")  # from here on a stream may be taken for complete


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("kind", ["stream", "whole"])
async def test_breaking_at_every_byte(house: House, kind: str, how: str) -> None:
    data = STREAM if kind == "stream" else WHOLE

    def answer(request: Recorded) -> Script:
        cut = int(request.json()["user"])
        return raw(data[:cut], BREAKS[how]) if cut else raw(BREAKS[how])

    house.upstream.always(answer)
    heard: dict[int, Heard] = {}

    async def one(cut: int) -> None:
        body = orjson.dumps({**orjson.loads(ASK_STREAM if kind == "stream" else ASK), "user": str(cut)})
        heard[cut] = await house.talk(house.post(body) + LAST)

    for start in range(0, len(data) + 1, 40):
        await asyncio.gather(*(one(cut) for cut in range(start, min(start + 40, len(data) + 1))))
    rows = {int(row["end_user"]): row for row in await house.new_rows(len(data) + 1)}
    assert len(rows) == len(data) + 1
    for cut, row in rows.items():
        _honest(kind, cut, heard[cut], row, data)
    await house.provider_left()


def _honest(kind: str, cut: int, heard: Heard, row: dict[str, Any], data: bytes) -> None:
    answer = heard.answers[0]
    where = (cut, data[max(0, cut - 20) : cut], heard.data, row["outcome"], row["error_code"])
    assert heard.statuses[1:] == [200], where  # the client's connection goes on
    if row["outcome"] == "ok":
        assert cut >= (ENOUGH if kind == "stream" else len(data)), where
        assert answer.status == 200 and answer.complete and b"error" not in answer.body, where
        assert answer.body.endswith(b"[DONE]\n\n" if kind == "stream" else b"}}"), where
        assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("provider", 9, 4), where
        return
    assert row["outcome"] == "upstream_error" and cut < len(data), where
    if answer.status == 200:
        assert kind == "stream" and b"[DONE]" not in answer.body and answer.complete, where
        last = answer.body.split(b"\n\n")[-2].removeprefix(b"data: ")
        assert orjson.loads(last)["error"]["code"] == "provider_response_broken", where
        sent = answer.body[: -len(last) - 8]
        assert b"".join([*FRAMES, DONE]).startswith(sent), where  # whole frames of the provider's, unchanged
    else:
        assert (answer.status, answer.code) == (502, "provider_response_broken"), where


async def test_nobody_listens(house: House) -> None:
    """Refused at the connection: announced, never sent. (The provider counts no request.)"""
    port = house.upstream.port
    await house.upstream.stop()
    try:
        heard = await house.talk(house.post() + LAST)
        assert heard.statuses == [502, 200] and heard.answers[0].code == "provider_unreachable"
    finally:
        await house.upstream.start(port)
    (row,) = await house.new_rows(1)
    assert (row["outcome"], row["error_code"], row["input_tokens"]) == ("upstream_error", "unreachable", 0)


def usage(**counts: Any) -> bytes:
    return b"data: " + orjson.dumps({"choices": [], "usage": counts}) + b"\n\n"


END = b"data: [DONE]\n\n"
HUGE = 10**30
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
HTML: Headers = (("content-type", "text/html"),)
JSON: Headers = (("content-type", "application/json"),)
GOOD = usage(prompt_tokens=9, completion_tokens=4, total_tokens=13)

# What the provider does → outcome, source and output tokens of the row (None: whatever), statuses that the client may get.
STREAMS: dict[str, tuple[Script, str, str | None, int | None, list[int]]] = {
    "a byte per write": (chunked([*FRAMES, GOOD, END], piece=1), "ok", "provider", 4, [200]),
    "no usage": (chunked([*FRAMES, END]), "ok", "estimated", None, [200]),
    "usage twice": (chunked([*FRAMES, usage(prompt_tokens=1, completion_tokens=1, total_tokens=2), GOOD, END]), "ok", "provider", 4, [200]),
    "usage 0": (chunked([*FRAMES, usage(prompt_tokens=0, completion_tokens=0, total_tokens=0), END]), "ok", None, None, [200]),
    "negative usage": (chunked([*FRAMES, usage(prompt_tokens=-9, completion_tokens=-4, total_tokens=-13), END]), "ok", None, None, [200]),
    "huge usage": (chunked([*FRAMES, b'data: {"choices":[],"usage":{"prompt_tokens":%d}}\n\n' % HUGE, END]), "ok", None, None, [200]),
    "usage that is a text": (chunked([*FRAMES, usage(prompt_tokens="9", completion_tokens="4"), END]), "ok", None, None, [200]),
    "usage that is null": (chunked([*FRAMES, b'data: {"choices":[],"usage":null}\n\n', END]), "ok", "estimated", None, [200]),
    "bytes behind [DONE]": (chunked([*FRAMES, GOOD, END, b"data: more\n\n" * 50]), "ok", "provider", 4, [200]),
    "never ends behind [DONE]": (raw(OPENING, *[chunk(part) for part in (*FRAMES, GOOD, END)], Silence()), "ok", "provider", 4, [200]),
    "invalid JSON in an event": (chunked([FRAMES[0], b"data: {{{\n\n", GOOD, END]), "ok", "provider", 4, [200]),
    "not UTF-8 in an event": (chunked([FRAMES[0], b'data: {"choices":"\xff"}\n\n', GOOD, END]), "ok", "provider", 4, [200]),
    "comments alone": (chunked([b": ping\n\n"] * 100 + [GOOD, END]), "ok", "provider", 4, [200]),
    "an empty stream": (chunked([]), "upstream_error", "none", 0, [200, 502]),
    "an empty body": (whole(b"", headers=EVENT_STREAM), "upstream_error", "none", 0, [200, 502]),
    "JSON instead": (whole(ANSWER), "ok", "provider", 4, [200]),
    "a stream called JSON": (chunked([*FRAMES, GOOD, END], headers=JSON), "ok", None, None, [200]),
    "a stream without a type": (until_close([*FRAMES, GOOD, END], headers=()), "ok", "provider", 4, [200]),
    "a page with 502": (whole(b"<html>Bad gateway</html>", status=502, headers=HTML), "upstream_error", "none", 0, [502]),
    "a page with 200": (whole(b"<html>hi</html>", headers=HTML), "", None, None, [200, 502]),
    "silence": (raw(Silence()), "upstream_error", "none", 0, [504]),
    "silence behind the head": (raw(OPENING, Silence()), "upstream_error", "none", 0, [200]),
    "silence in an event": (raw(OPENING, chunk(FRAMES[0]), b"99\r\ndata: {", Silence()), "upstream_error", "estimated", None, [200]),
    "429": (whole(b'{"error":{"message":"slow"}}', status=429, headers=[*JSON, ("retry-after", "7")]), "upstream_error", "none", 0, [429]),
    "503": (whole(b'{"error":{"message":"busy"}}', status=503, headers=[*JSON, ("retry-after", "7")]), "upstream_error", "none", 0, [503]),
    "500 without a body": (whole(b"", status=500), "upstream_error", "none", 0, [500]),
    "an interim answer first": (raw(INTERIM, OPENING, chunk(GOOD), chunk(END), LAST_CHUNK), "ok", "provider", 4, [200]),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
async def test_streams(house: House, name: str) -> None:
    script, outcome, source, output, statuses = STREAMS[name]
    house.upstream.expect(script)
    heard = await house.talk(house.post(ASK_STREAM) + LAST)
    (answer, last) = heard.answers
    assert answer.status in statuses and answer.complete and last.status == 200, heard.data
    (row,) = await house.new_rows(1)
    assert outcome in ("", row["outcome"]) and source in (None, row["usage_source"]), dict(row)
    assert output in (None, row["output_tokens"]), dict(row)
    assert min(row["input_tokens"], row["output_tokens"], row["list_pusd"]) >= 0
    if row["outcome"] == "upstream_error" and answer.status == 200:
        assert b'"error"' in answer.body and b"[DONE]" not in answer.body
    if name in ("429", "503"):
        assert answer.header("retry-after") == "7"
    await house.provider_left()


async def test_an_answer_without_content(house: House) -> None:
    """204: a body behind it would be taken for the next answer on the connection."""
    for body in (ASK_STREAM, ASK):
        house.upstream.expect(raw(head(204, [])))
        heard = await house.talk(house.post(body) + LAST)
        assert heard.statuses in ([204, 200], [502, 200])


BODIES: dict[str, tuple[bytes, str, int | None]] = {
    "no usage": (b'{"choices":[{"message":{"content":"Hi"}}]}', "estimated", None),
    "usage twice": (b'{"usage":{"prompt_tokens":1},"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}', "provider", 4),
    "negative": (b'{"choices":[],"usage":{"prompt_tokens":-9,"completion_tokens":-4}}', "", None),
    "huge": (b'{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":4}}' % HUGE, "", None),
    "a fraction": (b'{"choices":[],"usage":{"prompt_tokens":1.5,"completion_tokens":4}}', "", None),
    "not JSON": (b"hello", "", None),
    "a list": (b"[1]", "", None),
    "deep": (b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}", "", None),
    "empty": (b"", "", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_bodies(house: House, name: str) -> None:
    body, source, output = BODIES[name]
    house.upstream.expect(whole(body))
    heard = await house.talk(house.post() + LAST)
    assert heard.statuses in ([200, 200], [502, 200]) and heard.answers[0].complete
    assert heard.answers[0].status == 502 or heard.answers[0].body == body
    (row,) = await house.new_rows(1)
    assert source in ("", row["usage_source"]) and output in (None, row["output_tokens"]), dict(row)
    assert min(row["input_tokens"], row["output_tokens"], row["list_pusd"]) >= 0


async def test_a_line_without_end_is_bounded(house: House) -> None:
    """A frame of 256 MB: ended, or passed on at the reader's pace; never kept."""
    block = chunk(b"x" * 65536)
    house.upstream.expect(raw(OPENING, chunk(b"data: "), Flood(block, 256 * 1024 * 1024), chunk(END) + LAST_CHUNK))
    client = await house.connect()
    before = most = resident_bytes()
    await client.send(house.post(ASK_STREAM, extra=b"Connection: close\r\n"))
    async with asyncio.timeout(60):
        while await client.loop.sock_recv(client.sock, 1 << 20):
            most = max(most, resident_bytes())
    client.close()
    assert most - before < 96 * 1024 * 1024
    (row,) = await house.new_rows(1)
    assert row["outcome"] in ("upstream_error", "ok")
    await house.provider_left()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_an_endless_whole_answer_is_bounded(house: House) -> None:
    """It passes on unread beyond what is held: at the reader's pace, without being kept."""
    house.upstream.expect(Script([Send(head(200, [*JSON, ("transfer-encoding", "chunked")])), Flood(chunk(b" " * 65536), 64 * 1024 * 1024),
                                  Send(chunk(ANSWER) + LAST_CHUNK)]))  # fmt: skip
    heard = await house.talk(house.post(extra=b"Connection: close\r\n"))
    assert heard.statuses in ([200], [502])
    (row,) = await house.new_rows(1)
    assert row["outcome"] in ("ok", "upstream_error")
    await house.provider_left()
