"""Every OpenAI-shaped chat recording, cut in every way: the client's bytes and the provider's own report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from proxy.metering.output_text import ARGUMENTS, CALL
from proxy.metering.stream_meter import StreamMeter
from proxy.providers.registry import READERS
from proxy.wire.sse import split_frames
from tests.proxy.metering.whole_body import WholeBody
from tests.wire.recordings import CHAT, Recording, cuts, params

# (input, cached, output, reasoning) as the provider reported them, read by eye; None: it reported nothing.
REPORTED: dict[str, tuple[int, int, int, int | None] | None] = {
    "01-0": (75, 0, 53, 0),
    "01-1": (149, 0, 32, 0),
    "01-5": (149, 0, 33, 0),
    "02-0": None,
    "02-1": None,
    "03-0": (13, 0, 50, 50),
    "04-0": (64, 0, 13, 0),
    "06-0": (65, 0, 13, 0),
    "06-1": (65, 0, 12, 0),
    "08-0": (26, 0, 104, 0),
    "12-0": (13, 0, 197, 0),
    "17-0": (15, 0, 78, 64),
    "18-0": None,
    "18-3": None,
    "19-0": None,
    "20-0": None,
    "21-0": None,
    "22-0": None,
    "23-0": None,
    "27-0": None,
    "28-0": None,
    "28-1": (343, 0, 180, 153),
    "29-0": (18, 0, 73, None),
    "30-0": (254, 0, 5, 0),
    "31-0": (43, 0, 10, 10),
    "32-0": (56, 0, 12, 0),
    "32-1": (105, 0, 16, 0),
    "33-0": (17, 0, 47, 34),
    "34-0": (13, 0, 564, 561),
    "49-0": (42, 0, 10, 0),
    "50-0": (438, 0, 16, None),
    "50-2": None,
}


def reported_usage(chunks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Found anew, chunk by chunk: the last one that is there."""
    found = None
    for chunk in chunks:
        found = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or found
    return found


def events(body: bytes) -> Iterator[dict[str, Any]]:
    for frame in split_frames(body):
        data = frame.strip().removeprefix(b"data:").removeprefix(b"event: error\ndata:").strip()
        if data.startswith(b"{"):
            yield json.loads(data)


def play(recording: Recording, how: str, *, strip: bool) -> tuple[bytes, StreamMeter]:
    meter = StreamMeter(READERS[recording.usage_reader], strip_usage_chunk=strip)
    sent = b"".join(meter.feed(piece).forward for piece in cuts(recording.body, how))
    return sent + meter.finish(), meter


def check(recording: Recording, meter: StreamMeter | WholeBody, usage: dict[str, Any] | None) -> None:
    assert meter.decode_errors == 0
    found = meter.usage
    if recording.name in REPORTED:
        wanted = REPORTED[recording.name]
        assert wanted == (
            found and (found.input_tokens, found.cached_tokens, found.output_tokens, found.reasoning_tokens)
        )
    if usage is None:
        assert found is None
        assert meter.raw_usage is None
        return
    assert found is not None
    assert json.loads(meter.raw_usage or "") == usage
    assert found.input_tokens == usage["prompt_tokens"]
    assert found.output_tokens == usage["completion_tokens"]
    assert found.inconsistent == (recording.number == 31)  # reasoning 11 of completion 10


@pytest.mark.parametrize("how", ["whole", "events", "bytes"])
@pytest.mark.parametrize("recording", params(*CHAT, only="stream"))
def test_streams_pass_unchanged_and_are_read(recording: Recording, how: str) -> None:
    sent, meter = play(recording, how, strip=False)
    assert sent == recording.body
    check(recording, meter, reported_usage(list(events(recording.body))))
    assert meter.done == (b"[DONE]" in recording.body)
    assert meter.error_seen == (recording.name in ("28-0", "31-0"))
    assert meter.ended == (recording.name != "28-0")
    assert meter.saw_content == (recording.number != 3)  # nothing but hidden reasoning
    assert meter.oversized == 0


@pytest.mark.parametrize("how", ["whole", "events", "bytes"])
@pytest.mark.parametrize("recording", params(*CHAT, only="stream"))
def test_only_the_usage_chunk_is_removed(recording: Recording, how: str) -> None:
    sent, meter = play(recording, how, strip=True)
    kept = [
        frame
        for frame in split_frames(recording.body)
        if not (b'"choices":[]' in frame and b'"usage":{' in frame)  # Azure's first chunk has no usage: it stays
    ]
    assert sent == b"".join(kept)
    assert (sent != recording.body) == (recording.number in (1, 3, 4, 7, 8, 17, 30))
    check(recording, meter, reported_usage(list(events(recording.body))))


@pytest.mark.parametrize("recording", params(*CHAT, only="stream"))
def test_done_and_what_follows_is_held(recording: Recording) -> None:
    for how in ("whole", "events", "bytes"):
        meter = StreamMeter(READERS[recording.usage_reader], strip_usage_chunk=False)
        sent = b"".join(meter.feed(piece).forward for piece in cuts(recording.body, how))
        assert b"[DONE]" not in sent
        if meter.done:
            assert meter.held == b"data: [DONE]\n\n"


@pytest.mark.parametrize("recording", params(*CHAT, only="body"))
def test_bodies_are_read(recording: Recording) -> None:
    meter = WholeBody(READERS[recording.usage_reader])
    usage, raw = meter.read(recording.body)
    assert (usage, raw) == (meter.usage, meter.raw_usage)
    body = json.loads(recording.body)
    check(recording, meter, body.get("usage"))
    assert meter.error_seen == ("error" in body)


@pytest.mark.parametrize("recording", params(11))
def test_cached_tokens_are_apart(recording: Recording) -> None:
    usage, _ = WholeBody(READERS["openai"]).read(recording.body)
    details = json.loads(recording.body)["usage"]["prompt_tokens_details"]
    assert usage is not None
    assert usage.units["cache_read"] == details["cached_tokens"]
    assert usage.units.get("cache_write_30m") == details.get("cache_write_tokens")


@pytest.mark.parametrize("recording", params(49))
def test_audio_input_is_apart(recording: Recording) -> None:
    usage, _ = WholeBody(READERS["openai"]).read(recording.body)
    assert usage is not None
    assert usage.units == {
        "cache_read": 0,
        "input_audio": 25,
        "input_image": 0,
        "input": 17,
        "output_audio": 0,
        "output": 10,
    }
    assert usage.service_tier == "default"


@pytest.mark.parametrize("recording", params(12))
def test_a_search_model_searches_once(recording: Recording) -> None:
    usage, _ = WholeBody(READERS["openai"]).read(recording.body)
    assert usage is not None
    assert usage.units["web_searches"] == 1


@pytest.mark.parametrize("how", ["whole", "events", "bytes"])
@pytest.mark.parametrize("recording", params(2, 18, 28))
def test_text_for_the_estimate(recording: Recording, how: str) -> None:
    if recording.name == "28-1":
        return
    _, meter = play(recording, how, strip=False)
    said = {"content": "", "reasoning": "", "calls": ""}
    for chunk in events(recording.body):
        for choice in chunk.get("choices", []):
            delta = choice["delta"]
            said["content"] += delta.get("content") or ""
            said["reasoning"] += delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or []:
                said["calls"] += (call["function"].get("name") or "") + (call["function"].get("arguments") or "")
    plain, *calls = meter.output_text().split(CALL)
    assert plain in ("\n".join(filter(None, pair)) for pair in permutations([said["content"], said["reasoning"]]))
    assert "".join(call.replace(ARGUMENTS, "") for call in calls) == said["calls"]
    assert meter.output_text()


@pytest.mark.parametrize("recording", params(1, 33, 29))
def test_no_text_is_kept_once_usage_is_known(recording: Recording) -> None:
    _, meter = play(recording, "events", strip=False)
    assert meter.output_text() == ""
