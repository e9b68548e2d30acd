"""What a careless provider sends in streams of the surfaces beside chat: one row that says what is true, and no harm."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.server.house import LAST, House
from tests.server.test_provider_faults import HTML, HUGE, JSON
from tests.server.test_surface_faults import (
    KINDS,
    OPENING,
    RESPONSE_USAGE,
    STREAMS,
    Kind,
    event,
    frames,
    response,
    text,
)
from tests.upstream.script import EVENT_STREAM, LAST_CHUNK, Script, Silence, chunk, chunked, raw, until_close, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESPONSES = STREAMS["responses stream"]
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def told(kind: Kind, *counts: Any) -> list[bytes]:
    """A good stream that reports these (input, output), the last of them at its end."""
    begun = frames(kind.body("0"))[:2]
    if kind is RESPONSES:
        usages = [{"input_tokens": given, "output_tokens": made} for given, made in counts]
        early = [event(2, "response.in_progress", response=response("0", usage=usage)) for usage in usages[:-1]]
        last = usages[-1] if usages else None
        return [*begun, *early, event(9, "response.completed", response=response("0", status="completed", usage=last))]
    usages = [{"prompt_tokens": given, "completion_tokens": made} for given, made in counts]
    return [*begun[:1], *(text("", usage) for usage in usages), DONE]


def scripts(kind: Kind) -> dict[str, tuple[Script, str, str | None, int | None, list[int]]]:
    """→ outcome ("": whatever), source and output tokens of the row, statuses that the client may get."""
    good = told(kind, (9, 4))
    begun, last = good[:-1], good[-1]
    behind = [event(10, "response.more")] if kind is RESPONSES else [b"data: more\n\n"]
    wrong: dict[str, Any] = {
        "negative usage": (-9, -4),
        "huge usage": (HUGE, 4),
        "usage in words": ("9", "4"),
        "a fraction": (1.5, 4),
    }
    answer = orjson.dumps(response("0", usage=RESPONSE_USAGE)) if kind is RESPONSES else KINDS["completions"].body("0")
    slow = [*JSON, ("retry-after", "7")]
    null = event(1, "response.in_progress", response=None)
    large = last.replace(b'"usage"', b'"pad":"%b","usage"' % (b"x" * 9_000_000))
    return {
        "a byte per write": (chunked(good, piece=1), "ok", "provider", 4, [200]),
        "no usage": (chunked(told(kind)), "ok", "estimated", None, [200]),
        "usage that is null": (chunked([*begun[:1], null, *begun[1:], last]), "ok", None, 4, [200]),
        "usage twice": (chunked(told(kind, (1, 1), (9, 4))), "ok", "provider", 4, [200]),
        "usage 0": (chunked(told(kind, (0, 0))), "ok", None, None, [200]),
        **{name: (chunked(told(kind, counts)), "ok", None, None, [200]) for name, counts in wrong.items() if name != "huge usage"},
        "huge usage": (chunked([part.replace(b"12345678", b"%d" % HUGE) for part in told(kind, (12345678, 4))]), "ok", None, None, [200]),
        "bytes behind the end": (chunked([*good, *behind * 50]), "ok", "provider", 4, [200]),
        "never ends behind its end": (raw(OPENING, *map(chunk, good), Silence()), "ok", "provider", 4, [200]),
        "invalid JSON in an event": (chunked([*begun, b'data: {"response": {{{\n\n', last]), "ok", "provider", 4, [200]),
        "not UTF-8 in an event": (chunked([*begun, b'data: {"type":"\xff","response":1}\n\n', last]), "ok", "provider", 4, [200]),
        "deep": (chunked([*begun, b'data: {"response":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n", last]), "ok", "provider", 4, [200]),
        "comments": (chunked([PING] * 100 + [*begun, PING, last]), "ok", "provider", 4, [200]),
        "an empty stream": (chunked([]), "upstream_error", "none", 0, [200, 502]),
        "JSON instead": (whole(answer), "ok", "provider", 4, [200]),
        "a stream without a type": (until_close(good, headers=()), "ok", "provider", 4, [200]),
        "a page with 502": (whole(b"<html>Bad gateway</html>", status=502, headers=HTML), "upstream_error", "none", 0, [502]),
        "a page with 200": (whole(b"<html>hi</html>", headers=HTML), "", None, None, [200, 502]),
        "silence": (raw(Silence()), "upstream_error", "none", 0, [504]),
        "silence behind the head": (raw(OPENING, Silence()), "upstream_error", "none", 0, [200]),
        "silence in an event": (raw(OPENING, chunk(b"".join(begun)), b"99\r\ndata: {", Silence()), "upstream_error", None, None, [200]),
        "429": (whole(b'{"error":{"message":"slow"}}', status=429, headers=slow), "upstream_error", "none", 0, [429]),
        "500 without a body": (whole(b"", status=500), "upstream_error", "none", 0, [500]),
        "a last event of 9 MB": (chunked([*begun, large]), "ok", None, None, [200]),
        "ended early": (raw(OPENING, chunk(b"".join(begun)), LAST_CHUNK), "", None, None, [200]),
    }  # fmt: skip


@pytest.mark.parametrize("name", scripts(RESPONSES))
@pytest.mark.parametrize("kind", STREAMS.values(), ids=STREAMS)
async def test_streams(house: House, kind: Kind, name: str) -> None:
    script, outcome, source, output, statuses = scripts(kind)[name]
    house.upstream.expect(script)
    heard = await house.talk(kind.request(house, "0") + LAST)
    answer, last = heard.answers
    assert answer.status in statuses and answer.complete and last.status == 200, heard.data[:4000]
    (row,) = await house.new_rows(1)
    assert outcome in ("", row["outcome"]) and source in (None, row["usage_source"]), dict(row)
    assert output in (None, row["output_tokens"]), dict(row)
    assert min(row["input_tokens"], row["output_tokens"], row["list_pusd"]) >= 0
    if row["outcome"] == "upstream_error" and answer.status == 200:
        assert b'"error"' in answer.body and b"[DONE]" not in answer.body and b"response.completed" not in answer.body
    if name == "429":
        assert answer.header("retry-after") == "7"


BODIES: dict[str, bytes] = {
    "negative": b'{"usage":{"prompt_tokens":-9,"input_tokens":-9,"output_tokens":-4,"total_tokens":-13}}',
    "huge": b'{"usage":{"prompt_tokens":%d,"input_tokens":%d,"output_tokens":4,"total_tokens":4}}' % (HUGE, HUGE),
    "a fraction": b'{"usage":{"prompt_tokens":1.5,"input_tokens":1.5,"output_tokens":4}}',
    "no object": b'{"usage":[1],"data":{},"output":3,"results":"x","choices":null}',
    "not JSON": b"hello", "a list": b"[1]", "empty": b"", "not UTF-8": b'{"data":"\xff"}',
    "deep": b'{"output":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "an event": EVENT_STREAM[0][1].encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.events])
async def test_bodies(house: House, kind: str, name: str) -> None:
    house.upstream.expect(whole(BODIES[name]))
    heard = await house.talk(KINDS[kind].request(house, "0") + LAST)
    assert heard.statuses == [200, 200] and heard.answers[0].complete and heard.answers[0].body == BODIES[name]
    (row,) = await house.new_rows(1)
    assert row["outcome"] == "ok"
    assert min(row["input_tokens"], row["output_tokens"], row["list_pusd"]) >= 0
