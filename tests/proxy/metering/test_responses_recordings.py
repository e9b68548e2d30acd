"""Every recording of the Responses API, legacy completions and embeddings, cut everywhere: the client's bytes, and the
provider's own report read by plain JSON.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.usage import INPUT_UNITS, OUTPUT_UNITS, Usage
from proxy.metering.body_meter import output_text
from proxy.metering.meters import open_meter
from proxy.metering.stream_meter import StreamMeter
from proxy.providers.readers import reader_for
from tests.proxy.metering.whole_body import WholeBody
from tests.wire.recordings import Recording, params

RESPONSES = (5, 13, 14, 15, 16)
SMALL_BYTES = 8_000  # up to here a stream is cut at every place
TOKENS = frozenset(INPUT_UNITS + OUTPUT_UNITS)

# (input, cached, output, reasoning, web searches) as the provider reported them, read by eye.
REPORTED = {
    "05-0": (54, 0, 11, 0, 0),
    "13-0": (20, 0, 282, 214, 0),
    "13-1": (311, 0, 8, 0, 0),
    "14-0": (310, 0, 523, 0, 1),
    "14-1": (310, 0, 583, 0, 1),
    "14-2": (877, 0, 504, 0, 1),
    "14-3": (877, 0, 506, 0, 1),
    "14-4": (310, 0, 540, 0, 1),
    "15-1": (75, 0, 16, 0, 0),
    "15-2": (119, 0, 38, 0, 0),
    "15-4": (157, 0, 30, 0, 0),
}


def chosen(*numbers: int, stream: bool) -> list[Any]:
    """Their content types are redacted in part: the bytes say what they are. Without uploads of traces, which have no body."""
    found = params(*numbers)
    if any(param.values[0] is None for param in found):  # type: ignore[attr-defined]
        return found
    return [p for p in found if (body := p.values[0].body) and body.startswith((b"event:", b"data:")) == stream]  # type: ignore[attr-defined]


def frames_of(body: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]] + [body.split(b"\n\n")[-1]]


@cache
def last_frame(body: bytes) -> tuple[int, dict[str, Any]]:
    """Where the event begins that ends the stream, and its data."""
    at = 0
    for frame in frames_of(body):
        for line in frame.splitlines():
            if line.startswith(b"data:"):
                data = json.loads(line[5:])
                if data["type"] in ("response.completed", "response.incomplete", "response.failed"):
                    return at, data
        at += len(frame)
    raise AssertionError("no end")


def open_for(recording: Recording, surface: str) -> StreamMeter:
    return open_meter(
        surface, reader_for(surface, recording.usage_reader), strip_usage_chunk=False, clean_error=lambda data: data
    )


def check(recording: Recording, usage: Usage | None, raw_usage: str | None, response: dict[str, Any]) -> None:
    reported = response["usage"]
    if reported is None:
        assert (usage, raw_usage, recording.number) == (None, None, 16)
        return
    assert usage is not None
    kept = json.loads(raw_usage or "")
    assert kept == (
        {"usage": reported, "tool_usage": response["tool_usage"]} if "tool_usage" in response else reported
    )
    assert usage.input_tokens == reported["input_tokens"]
    assert usage.cached_tokens == reported["input_tokens_details"]["cached_tokens"]
    assert usage.output_tokens == reported["output_tokens"]
    assert usage.reasoning_tokens == reported["output_tokens_details"]["reasoning_tokens"]
    assert sum(count for unit, count in usage.units.items() if unit in TOKENS) == reported["total_tokens"]
    searches = sum(
        item["type"] == "web_search_call" and item["action"]["type"] == "search" for item in response["output"]
    )
    assert usage.units.get("web_searches", 0) == searches
    assert usage.service_tier == response["service_tier"]
    assert not usage.inconsistent
    assert REPORTED[recording.name] == (
        usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens, searches,
    )  # fmt: skip


def play(recording: Recording, cuts: list[int]) -> None:
    body = recording.body
    at, last = last_frame(body)
    meter = open_for(recording, "responses")
    sent, start = b"", 0
    for cut in [*cuts, len(body)]:
        sent += meter.feed(body[start:cut]).forward
        start = cut
    # The end is withheld, whole and alone.
    assert sent == body[:at]
    assert meter.finish() == body[at:]
    assert (meter.done, meter.ended, meter.decode_errors, meter.oversized) == (True, True, 0, 0)
    assert meter.error_seen == (recording.number == 16)
    check(recording, meter.usage, meter.raw_usage, last["response"])


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=True))
def test_a_stream_byte_by_byte_by_event_and_whole(recording: Recording) -> None:
    play(recording, list(range(1, len(recording.body))))
    ends, at = [], 0
    for frame in frames_of(recording.body):
        at += len(frame)
        ends.append(at)
    play(recording, ends)
    play(recording, [])


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=True))
def test_a_small_stream_cut_at_every_place(recording: Recording) -> None:
    step = 1 if len(recording.body) < SMALL_BYTES else len(recording.body) // 500
    for cut in range(1, len(recording.body), step):
        play(recording, [cut])


@pytest.mark.parametrize("recording", chosen(13, 14, stream=True))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_large_stream_cut_anywhere(recording: Recording, data: st.DataObject) -> None:
    play(recording, sorted(data.draw(st.lists(st.integers(1, len(recording.body) - 1), max_size=20))))


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=True))
def test_line_ends_may_be_crlf(recording: Recording) -> None:
    body = recording.body.replace(b"\n", b"\r\n")
    at, _ = last_frame(recording.body)
    at += recording.body[:at].count(b"\n")
    for cuts in ([], list(range(1, len(body), 3))):
        meter = open_for(recording, "responses")
        sent, start = b"", 0
        for cut in [*cuts, len(body)]:
            sent += meter.feed(body[start:cut]).forward
            start = cut
        assert (sent, meter.finish()) == (body[:at], body[at:])
        assert (meter.usage is None) == (recording.number == 16)


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=True))
def test_a_stream_that_breaks_anywhere_is_no_end(recording: Recording) -> None:
    """Up to its last event nothing says that it is over, but an error that came before."""
    at, _ = last_frame(recording.body)
    for cut in range(0, at, max(1, at // 200)):
        meter = open_for(recording, "responses")
        meter.feed(recording.body[:cut])
        meter.finish(drop_unfinished=True)
        assert (meter.done, meter.ended, meter.usage) == (False, False, None)


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=False))
def test_bodies_are_read(recording: Recording) -> None:
    meter = WholeBody(reader_for("responses", recording.usage_reader))
    usage, raw = meter.read(recording.body)
    response = json.loads(recording.body)
    check(recording, usage, raw, response)
    assert (meter.error_seen, meter.pending, meter.decode_errors) == (False, False, 0)
    said = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(said) in output_text(recording.body)


@pytest.mark.parametrize("recording", chosen(*RESPONSES, stream=False))
def test_the_tail_of_a_body_has_its_usage(recording: Recording) -> None:
    whole = WholeBody(reader_for("responses", recording.usage_reader))
    whole.read(recording.body)
    tail = WholeBody(reader_for("responses", recording.usage_reader))
    tail.read_tail(recording.body[-2500:])
    assert whole.usage is not None
    assert tail.usage is not None
    assert {u: n for u, n in tail.usage.units.items() if u in TOKENS} == {
        u: n for u, n in whole.usage.units.items() if u in TOKENS
    }
    assert ("web_searches" in tail.usage.units) == (b"tool_usage" in recording.body)


@pytest.mark.parametrize("recording", params(9))
def test_legacy_completions_without_usage(recording: Recording) -> None:
    body = recording.body
    said = "".join(json.loads(f[6:])["choices"][0]["text"] for f in frames_of(body) if f.startswith(b"data: {"))
    for cuts in ([], list(range(1, len(body)))):
        meter = open_for(recording, "completions")
        sent, start = b"", 0
        for cut in [*cuts, len(body)]:
            sent += meter.feed(body[start:cut]).forward
            start = cut
        assert sent + meter.finish() == body
        assert (meter.usage, meter.done, meter.ended, meter.saw_content) == (None, True, True, True)
        assert meter.held == b"data: [DONE]\n\n" + body.partition(b"data: [DONE]\n\n")[2]
        assert meter.output_text() == said


@pytest.mark.parametrize("recording", params(10))
def test_embeddings(recording: Recording) -> None:
    meter = WholeBody(reader_for("embeddings", "openai"))
    usage, raw = meter.read(recording.body)
    reported = json.loads(recording.body)["usage"]
    assert usage == Usage({"input": reported["prompt_tokens"]})
    assert json.loads(raw or "") == reported
    tail = WholeBody(reader_for("embeddings", "openai"))
    assert tail.read_tail(recording.body[-200:]) == (usage, raw)
