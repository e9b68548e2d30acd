"""The table of endings by itself: what picks its rows, and what each of them counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from proxy.flow.found import Found, of_body, of_stream, of_tail
from proxy.flow.outcomes import (
    BROKE,
    COMPLETE,
    ENDINGS,
    ERROR_SAID,
    LEFT,
    REFUSED,
    TRUNCATED,
    UNANSWERED,
    UNSENT,
    Counts,
    Ending,
    Sees,
    verdict_of,
)
from proxy.metering.stream_meter import StreamMeter
from proxy.outbound.sink import Broken
from proxy.providers.readers import reader_for
from proxy.relay.stream_end import (
    Answered,
    ClientLeft,
    Drained,
    EndedWithoutDone,
    Finished,
    PassedUnread,
    Progress,
    StreamEnd,
    UpstreamBroke,
)

CHAT = reader_for("chat", "openai")
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'
ZERO = b'data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}\n\n'
ERROR = b'data: {"error":{"message":"It broke."}}\n\n'
DONE = b"data: [DONE]\n\n"
REPORTED = {"input": 7, "output": 3}


def metered(*frames: bytes) -> StreamMeter:
    meter = StreamMeter(CHAT, strip_usage_chunk=False)
    meter.feed(b"".join(frames))
    meter.finish()
    return meter


def at(status: int | None = 200, *, head_sent: bool = True) -> Progress:
    return Progress(status=status, head_sent=head_sent)


def release() -> None: ...


def left(drained: Drained, status: int | None = 200) -> ClientLeft:
    return ClientLeft(at(status), drained)


STREAM = metered(WORD, FINISH, USAGE, DONE)


@pytest.mark.parametrize("end, meter, ending, code", [
    (Finished(at(), release), STREAM, COMPLETE, None),
    (Finished(at(), release), metered(ERROR, DONE), ERROR_SAID, "error_in_stream"),
    (EndedWithoutDone(at(), release), metered(WORD, FINISH), COMPLETE, None),
    (EndedWithoutDone(at(), release), metered(WORD), TRUNCATED, "truncated"),
    (EndedWithoutDone(at(), release), metered(), TRUNCATED, "truncated"),
    (EndedWithoutDone(at(), release), metered(WORD, ERROR), ERROR_SAID, "error_in_stream"),
    (Answered(at(204), b""), None, COMPLETE, None),
    (Answered(at(302), b""), None, REFUSED, "http_302"),
    (Answered(at(500), b""), None, REFUSED, "http_500"),
    (PassedUnread(at(), release, b""), None, COMPLETE, None),
    (UpstreamBroke(at(None, head_sent=False), Broken.RESET, ""), None, UNANSWERED, "reset"),
    (UpstreamBroke(at(head_sent=False), Broken.EARLY_CLOSE, ""), None, UNANSWERED, "early_close"),
    (UpstreamBroke(at(), Broken.TIMEOUT_IDLE, ""), metered(WORD), BROKE, "timeout_idle"),
    (left(Drained.NOT_DISPATCHED, None), None, UNSENT, None),
    (left(Drained.BROKE, None), None, UNANSWERED, "broke_unanswered"),
    (left(Drained.CUT, None), None, LEFT, None),
    (left(Drained.BROKE), metered(WORD), LEFT, None),
    (left(Drained.ENDED), STREAM, LEFT, None),
    (left(Drained.ENDED), metered(WORD, ERROR), ERROR_SAID, "error_in_stream"),
    (left(Drained.ENDED, 429), None, REFUSED, "http_429"),
])  # fmt: skip
def test_what_picks_the_row(end: StreamEnd, meter: StreamMeter | None, ending: Ending, code: str | None) -> None:
    verdict = verdict_of(end, meter)
    assert (verdict.ending.name, verdict.error_code) == (ending.name, code)
    assert (verdict.sees is Sees.NOBODY) == isinstance(end, ClientLeft)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
def test_what_each_row_counts(ending: Ending) -> None:
    assert len({each.name for each in ENDINGS}) == len(ENDINGS)
    for reported, said in itertools.product([False, True], repeat=2):
        counts = ending.counts(reported, said)
        # The provider's own word is never thrown away, nor made up.
        assert not reported or counts in (Counts.REPORTED, Counts.SINCE) or ending in (UNANSWERED, UNSENT)
        assert reported or counts in (Counts.NOTHING, Counts.ESTIMATE)
        # Nothing is estimated for who was refused.
        assert counts is not Counts.ESTIMATE or said or ending.outcome != "upstream_error"


ENDS: dict[str, Callable[[], StreamEnd]] = {
    "complete": lambda: Finished(at(), release),
    "truncated": lambda: EndedWithoutDone(at(), release),
    "broke": lambda: UpstreamBroke(at(), Broken.RESET, ""),
    "left": lambda: left(Drained.CUT),
}


@pytest.mark.parametrize("how, frames, source, units, text, finished", [
    ("complete", [WORD, FINISH, USAGE, DONE], "provider", REPORTED, None, True),
    ("complete", [USAGE, WORD, FINISH, DONE], "provider", REPORTED, None, True),
    ("complete", [WORD, FINISH, DONE], "estimated", {}, "Hi", True),
    ("complete", [FINISH, DONE], "estimated", {}, "", True),
    ("complete", [ZERO, DONE], "provider", {"input": 0, "output": 0}, None, False),
    ("complete", [WORD, ERROR, DONE], "estimated", {}, "Hi", False),
    ("complete", [ERROR, USAGE, DONE], "provider", REPORTED, None, False),
    ("complete", [ERROR, DONE], "none", {}, None, False),
    ("truncated", [WORD], "estimated", {}, "Hi", False),
    ("truncated", [], "none", {}, None, False),
    ("broke", [WORD], "estimated", {}, "Hi", False),
    ("broke", [USAGE.replace(b"[]", b"[{}]"), WORD], "estimated", REPORTED, "Hi", False),
    ("broke", [], "none", {}, None, False),
    ("left", [WORD], "estimated", {}, "Hi", False),
    ("left", [], "estimated", {}, "", False),
    ("left", [WORD, FINISH, USAGE], "provider", REPORTED, None, True),
    ("left", [USAGE.replace(b"[]", b"[{}]"), WORD], "estimated", REPORTED, "Hi", False),
])  # fmt: skip
def test_what_a_stream_is_settled_with(
    how: str, frames: list[bytes], source: str, units: dict[str, int], text: str | None, finished: bool
) -> None:
    meter = metered(*frames)
    found = of_stream(verdict_of(ENDS[how](), meter), meter)
    assert (found.source, found.usage.units, found.finished) == (source, units, finished)
    assert (found.uncounted.text if found.uncounted else None) == text
    assert found.uncounted is None or found.uncounted.reported == bool(units)


BODY = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]%b}'
IN_BODY = b',"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}'
FAILED = b'{"error":{"message":"It broke."}%b}'


def body_found(end: Answered | ClientLeft, body: bytes, surface: str = "chat") -> Found:
    return of_body(verdict_of(end, None), reader_for(surface, "openai"), body, surface)


@pytest.mark.parametrize("status, body, outcome, source, code", [
    (200, BODY % IN_BODY, "ok", "provider", None),
    (200, BODY % b"", "ok", "estimated", None),
    (200, FAILED % b"", "upstream_error", "none", "error_in_body"),
    (200, FAILED % IN_BODY, "upstream_error", "provider", "error_in_body"),
    (400, FAILED % b"", "upstream_error", "none", "http_400"),
    (400, FAILED % IN_BODY, "upstream_error", "provider", "http_400"),
    (500, b"<html>", "upstream_error", "none", "http_500"),
    # Whatever an error's body says, its text is no output.
    (500, BODY % b"", "upstream_error", "none", "http_500"),
])  # fmt: skip
@pytest.mark.parametrize("gone", [False, True])
def test_what_a_body_is_settled_with(
    status: int, body: bytes, outcome: str, source: str, code: str | None, gone: bool
) -> None:
    found = body_found(left(Drained.ENDED, status) if gone else Answered(at(status), body), body)
    assert (found.outcome, found.source) == ("client_abort" if gone and outcome == "ok" else outcome, source)
    assert found.error_code == code and (found.uncounted is not None) == (source == "estimated")
    assert found.usage.units == (REPORTED if source == "provider" else {})


@pytest.mark.parametrize("surface, body, finished", [
    ("chat", BODY % b"", True),
    ("chat", b'{"choices":[{"message":{"content":""},"finish_reason":null}]}', False),
    ("chat", b'{"choices":[{"finish_reason":"stop"},{"finish_reason":null}]}', True),
    ("chat", b'{"choices":[{"message":{"content":"\\"finish_reason\\": \\"stop\\""}}]}', False),
    ("chat", b'{"choices":[]}', False),
    ("completions", b'{"choices":[{"text":"","finish_reason": "length"}]}', True),
    ("responses", b'{"object":"response","status":"completed","output":[]}', True),
    ("responses", b'{"object":"response","status":"incomplete","output":[]}', True),
    ("responses", b'{"object":"response","status":"queued","output":[]}', False),
    ("embeddings", b'{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}', True),
    ("moderations", b'{"results":[]}', True),
    ("embeddings", FAILED % b"", False),
])  # fmt: skip
def test_who_finished(surface: str, body: bytes, finished: bool) -> None:
    assert body_found(Answered(at(), body), body, surface).finished == finished


def test_a_body_too_large_to_hold() -> None:
    verdict = verdict_of(PassedUnread(at(), release, b""), None)
    told = of_tail(verdict, CHAT, b'"x"}]' + IN_BODY + b"}")
    assert (told.source, told.usage.units, told.error_code, told.finished) == ("provider", REPORTED, None, True)
    untold = of_tail(verdict, CHAT, b'"x"}]}')
    assert (untold.source, untold.error_code) == ("estimated", "unread") and untold.uncounted is not None
