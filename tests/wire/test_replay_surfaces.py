"""Every recorded exchange of the other OpenAI surfaces through a running gateway, in pieces of one byte, of every event, and
whole: the client gets the provider's bytes, the row says what the provider reported, read here by plain JSON.

The recorded requests are sent as they were, in their order: what they refer to was brought by an answer before them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson
import pytest

from pricing.usage import INPUT_UNITS, OUTPUT_UNITS
from tests.gateway import PRICE, RunningGateway, one_provider, running, settings_of, until
from tests.line import Line
from tests.upstream.script import EVENT_STREAM, LAST_CHUNK, Hold, Script, Send, chunk, chunked, head, whole
from tests.upstream.server import Upstream
from tests.wire.recordings import Recording, available, cuts, load, missing_reason
from tests.wire.test_replay import data_of, frames_of, row_of

NUMBERS = {
    5: "responses",
    9: "completions",
    10: "embeddings",
    13: "responses",
    14: "responses",
    15: "responses",
    16: "responses",
}
RESPONSES_ASK: dict[str, Any] = {"input": "recorded", "stream": True}
ENDS = ("response.completed", "response.incomplete", "response.failed")
TOOLS = ("web_searches", "file_searches", "code_sessions", "images")
without_recordings = pytest.mark.skipif(not available() and os.environ.get("CI") != "true", reason=missing_reason())


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    async with running(settings_of(tmp_path, database_url, redis_url, *served(upstream))) as up:
        yield up


def served(upstream: Upstream) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An llm per surface."""
    providers, _ = one_provider(upstream.base_url)
    price = {**PRICE, "web_searches": "0.01"}
    models = {"responses": "gpt-4o", "completions": "davinci-002", "embeddings": "text-embedding-3-small"}
    llms = [
        {"name": name, "routes": [{"provider": "scripted", "model": model}], "price": price}
        for name, model in models.items()
    ]
    return providers, llms


def recordings() -> list[tuple[str, Recording]]:
    """Without uploads of traces, which have no answer."""
    return [(NUMBERS[r.number], r) for r in load(*NUMBERS) if "/traces/" not in r.url]


def is_stream(recording: Recording) -> bool:
    """Content types are redacted in part: the bytes say what they are."""
    return recording.body.startswith((b"event:", b"data:"))


def answer_of(recording: Recording) -> dict[str, Any]:
    """The body, or what the last event of a Responses stream holds of it; empty: nobody reports."""
    if not is_stream(recording):
        body: dict[str, Any] = orjson.loads(recording.body)
        return body
    events = [data for frame in frames_of(recording.body) if (data := data_of(frame)) is not None]
    return next((event["response"] for event in events if event.get("type") in ENDS), {})


def request_of(surface: str, recording: Recording) -> dict[str, Any]:
    return {**(recording.request or RESPONSES_ASK), "model": surface}


def script_of(recording: Recording, how: str) -> Script:
    if not is_stream(recording):
        return whole(recording.body, piece=1 if how == "bytes" else None)
    return chunked(cuts(recording.body, how), piece=1 if how == "bytes" and len(recording.body) < 4000 else None)


async def post(gateway: RunningGateway, surface: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
    return await gateway.session.post(
        f"{gateway.url}/v1/{surface}", json=body, headers={"Authorization": f"Bearer {gateway.key}"}
    )


@without_recordings
@pytest.mark.parametrize("how", ["bytes", "events", "whole"])
@pytest.mark.timeout(300)
async def test_recordings(gateway: RunningGateway, upstream: Upstream, how: str) -> None:
    checked = 0
    for surface, recording in recordings():
        upstream.expect(script_of(recording, how))
        asked = request_of(surface, recording)
        response = await post(gateway, surface, asked)
        assert (response.status, await response.read()) == (200, recording.body), recording.name
        (sent,) = upstream.requests[checked:]
        assert sent.path == f"/v1/{surface}"
        asked_there = {"stream_options": {"include_usage": True}} if surface == "completions" else {}
        assert {**sent.json(), "model": surface} == {**asked, **asked_there}, recording.name
        row = await row_of(gateway, response.headers["x-request-id"])
        assert (row["surface"], row["stream"]) == (surface, asked.get("stream", False)), recording.name
        check_row(row, recording)
        checked += 1
    assert checked == 16, "recordings are missing"


def check_row(row: dict[str, Any], recording: Recording) -> None:
    name, answer = recording.name, answer_of(recording)
    usage = answer.get("usage")
    if recording.number == 16:  # an error event, then response.failed without usage
        assert (row["outcome"], row["usage_source"], row["list_cost_usd"]) == ("upstream_error", "none", "0.00"), name
        return
    assert (row["outcome"], row["pricing"]) == ("ok", "priced"), name
    if usage is None:
        assert (recording.number, row["usage_source"]) == (9, "estimated")
        # max_tokens is 16 where it is not said, and each of these was cut off there
        assert row["output_tokens"] == 16, name
        assert row["input_tokens"] == 8, name  # cl100k_base: "Tell me a joke about opentelemetry"
        return
    assert row["usage_source"] == "provider", name
    given = usage.get("input_tokens", usage.get("prompt_tokens"))
    made = usage.get("output_tokens", 0)
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens", 0)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (given, cached, made), name
    assert (row["reasoning_tokens"] or 0) == (usage.get("output_tokens_details") or {}).get("reasoning_tokens", 0), name
    lines = {line["unit"]: line["quantity"] for line in row["lines"]}
    assert sum(lines.get(unit, 0) for unit in INPUT_UNITS + OUTPUT_UNITS) == given + made == usage["total_tokens"], name
    assert {unit: lines[unit] for unit in TOOLS if lines.get(unit)} == hosted(answer), name


def hosted(answer: dict[str, Any]) -> dict[str, int]:
    """What the provider's own tools did: by its count, else by the items."""
    searches = sum(
        item["type"] == "web_search_call" and item["action"]["type"] == "search" for item in answer.get("output", [])
    )
    counted = answer.get("tool_usage", {}).get("web_search", {}).get("num_requests", searches)
    return {"web_searches": counted} if counted else {}


def streams() -> list[tuple[str, Recording]]:
    return [(surface, recording) for surface, recording in recordings() if is_stream(recording)]


def withheld_from(surface: str, recording: Recording) -> int:
    """Where the event begins that says that all is over."""
    at = 0
    for frame in frames_of(recording.body):
        data = data_of(frame) or {}
        if data.get("type") in ENDS or b"data: [DONE]" in frame:
            return at
        at += len(frame)
    raise AssertionError(f"{recording.name} does not end")


@without_recordings
@pytest.mark.timeout(300)
async def test_every_event_passes_at_once_but_the_last(gateway: RunningGateway, upstream: Upstream) -> None:
    """The provider sends an event only when the client has the one before it."""
    for surface, recording in streams():
        end = withheld_from(surface, recording)
        before, rest = frames_of(recording.body[:end])[:-1], recording.body[end:]
        go_on = [asyncio.Event() for _ in before]
        opening = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
        steps: list[Any] = [Send(opening)]
        for event, frame in zip(go_on, before, strict=True):
            steps += [Hold(event), Send(chunk(frame))]
        upstream.expect(Script([*steps, Send(chunk(rest) + LAST_CHUNK)]))
        response = await post(gateway, surface, request_of(surface, recording))
        got = b""
        async with asyncio.timeout(60):
            for event, frame in zip(go_on, before, strict=True):
                event.set()
                got += await response.content.readexactly(len(frame))
            got += await response.content.read()
        assert got == recording.body, recording.name


@without_recordings
@pytest.mark.timeout(120)
async def test_the_last_event_waits_for_its_settlement(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    """Redis stalls: all but the end has passed; it goes on: so does the end."""
    never = {"settle_deadline_ms": 600_000}  # else the spool takes it
    async with Line(unquote(urlsplit(redis_url).path)) as line:
        settings = settings_of(tmp_path, database_url, line.redis_url, *served(upstream), holds=never)
        async with running(settings) as gateway:
            desk = gateway.gateway.desk
            for surface, recording in streams():
                end = withheld_from(surface, recording)
                stalled = asyncio.Event()
                opening = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
                upstream.expect(Script([Send(opening), Hold(stalled), Send(chunk(recording.body) + LAST_CHUNK)]))
                response = await post(gateway, surface, request_of(surface, recording))
                assert desk.in_flight
                line.stall()
                stalled.set()
                async with asyncio.timeout(30):
                    got = await response.content.readexactly(end)
                    await until(lambda: _handed_over(gateway), "the settlement is on its way")
                    assert (got, response.content.total_bytes) == (recording.body[:end], end), recording.name
                    line.resume()
                    assert await response.content.read() == recording.body[end:], recording.name


async def _handed_over(gateway: RunningGateway) -> bool:
    return not gateway.gateway.desk.in_flight
