"""How answers of each surface end otherwise than they should: in that surface's own words, with one row that says how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from tests.gateway import PROVIDER_KEY, RunningGateway, running, settings_of, until
from tests.proxy.ingress.cases import (
    COMPLETIONS,
    DONE,
    EVERY,
    REFUSAL,
    RESPONSES,
    STREAMED,
    USAGE_CHUNK,
    Case,
    ask,
    counted,
    delta,
    event,
    served,
    text_chunk,
)
from tests.upstream.script import (
    EVENT_STREAM,
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
    head,
    raw,
    whole,
)
from tests.upstream.server import Upstream

each = pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
each_streamed = pytest.mark.parametrize("case", STREAMED.values(), ids=STREAMED)
OPENING = head(200, [*EVENT_STREAM, ("transfer-encoding", "chunked")])
JSON_HEAD = head(200, [("content-type", "application/json"), ("content-length", "900")])
BREAKS: dict[str, Step] = {"FIN": Close(), "RST": Reset(), "silence": Silence()}


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    settings = settings_of(
        tmp_path, database_url, redis_url, *served(upstream.base_url), server={"shutdown_grace_s": 0.5},
        holds={"renew_after_s": 0.2, "lease_s": 30},
        upstream={"drain_s": 2.0, "idle_timeout_s": 0.5, "first_byte_timeout_s": 0.5},
    )  # fmt: skip
    async with running(settings) as up:
        yield up


def error_in(case: Case, got: bytes) -> dict[str, Any]:
    """The error that ends a stream, in the shape that this surface's SDKs raise on."""
    frame = got.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    name, separator, data = frame.rpartition(b"data: ")
    assert name == (b"event: error\n" if case is RESPONSES else b"") and separator, got
    told: dict[str, Any] = orjson.loads(data)
    if case is RESPONSES:
        numbers = [orjson.loads(each.partition(b"data: ")[2])["sequence_number"] for each in got.split(b"\n\n")[:-1]]
        assert told["type"] == "error" and numbers == list(range(len(numbers))), got
    assert b"[DONE]" not in got and b"response.completed" not in got
    error: dict[str, Any] = told["error"]
    return error


@pytest.mark.parametrize("how", [*BREAKS, "ended"])
@each_streamed
async def test_a_stream_that_breaks_off(gateway: RunningGateway, upstream: Upstream, case: Case, how: str) -> None:
    begun = case.stream[:-2]
    upstream.expect(chunked(begun, tail=[Send(LAST_CHUNK) if how == "ended" else BREAKS[how]]))
    got = await (await ask(gateway, case.surface, {**case.ask, "stream": True})).read()
    assert got.startswith(b"".join(begun))
    assert error_in(case, got)["code"] == ("provider_timeout" if how == "silence" else "provider_response_broken")
    (row,) = await gateway.rows(1)
    codes = {"FIN": "early_close", "RST": "reset", "silence": "timeout_idle", "ended": "truncated"}
    assert (row["surface"], row["outcome"], row["error_code"]) == (case.surface, "upstream_error", codes[how])
    assert (row["usage_source"], row["output_tokens"] > 0) == ("estimated", True)


@pytest.mark.parametrize("how", BREAKS)
@each
async def test_an_answer_that_breaks_off(gateway: RunningGateway, upstream: Upstream, case: Case, how: str) -> None:
    upstream.expect(raw(JSON_HEAD + case.body[:20], BREAKS[how]), raw(BREAKS[how]))
    for _ in range(2):
        response = await ask(gateway, case.surface, case.ask)
        assert response.status == (504 if how == "silence" else 502)
        assert (await response.json())["error"]["code"] in ("provider_timeout", "provider_response_broken")
    for row in await gateway.rows(2):
        assert (row["outcome"], row["usage_source"], row["charge_usd"]) == ("upstream_error", "none", "0.00")


@pytest.mark.parametrize("rest", [b"", DONE], ids=["end", "DONE"])
@each_streamed
async def test_an_error_of_the_provider_in_a_stream(
    gateway: RunningGateway, upstream: Upstream, case: Case, rest: bytes
) -> None:
    """It passes as it came, but for our account; and is no answer, whatever follows it."""
    told = orjson.loads(REFUSAL)["error"]
    failure = event(2, "error", **told) if case is RESPONSES else b"data: " + REFUSAL + b"\n\n"
    shown = failure.replace(PROVIDER_KEY.encode(), b"[removed]").replace(b"org-A1b2C3d4E5f6", b"[removed]")
    begun = case.stream[:2]
    upstream.expect(chunked([*begun, failure, rest]))
    assert (
        await (await ask(gateway, case.surface, {**case.ask, "stream": True})).read() == b"".join(begun) + shown + rest
    )
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "error_in_stream")
    assert row["usage_source"] == ("none" if case is RESPONSES else "estimated")  # nothing had been said, and something


async def test_a_response_that_failed_is_no_answer(gateway: RunningGateway, upstream: Upstream) -> None:
    """Its last event says so; what it used is billed all the same."""
    failed = {**RESPONSES.answer, "status": "failed", "error": {"code": "server_error", "message": "no"}}
    events = [*RESPONSES.stream[:-1], event(5, "response.failed", response=failed)]
    upstream.expect(chunked(events), whole(orjson.dumps(failed)))
    assert await (await ask(gateway, "responses", {**RESPONSES.ask, "stream": True})).read() == b"".join(events)
    assert await (await ask(gateway, "responses", RESPONSES.ask)).json() == failed
    for row in await gateway.rows(2):
        assert (row["outcome"], row["usage_source"], counted(row)) == ("upstream_error", "provider", RESPONSES.row)


async def test_a_response_that_stopped_early_is_an_answer(gateway: RunningGateway, upstream: Upstream) -> None:
    short = {**RESPONSES.answer, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    upstream.expect(chunked([*RESPONSES.stream[:-1], event(5, "response.incomplete", response=short)]))
    await (await ask(gateway, "responses", {**RESPONSES.ask, "stream": True})).read()
    (row,) = await gateway.rows(1)
    assert (row["outcome"], counted(row)) == ("ok", RESPONSES.row)


@pytest.mark.parametrize("reports", [True, False], ids=["reported", "silent"])
@each_streamed
async def test_a_client_that_leaves_a_stream(
    gateway: RunningGateway, upstream: Upstream, case: Case, reports: bool
) -> None:
    """The provider goes on: its report is billed. It does not: what was said is counted."""
    go_on = asyncio.Event()
    last = [USAGE_CHUNK, *case.stream[3:]] if case is COMPLETIONS else case.stream[3:]
    after: list[Step] = [Send(b"".join(map(chunk, last)) + LAST_CHUNK)] if reports else [Silence()]
    upstream.expect(Script([Send(OPENING + b"".join(map(chunk, case.stream[:3]))), Hold(go_on), *after]))
    response = await ask(gateway, case.surface, {**case.ask, "stream": True})
    await response.content.readexactly(sum(map(len, case.stream[:3])))
    response.close()
    await until(lambda: _noticed(gateway), "the gateway sees that the client left")
    go_on.set()
    (row,) = await gateway.rows(1)
    assert (row["surface"], row["outcome"]) == (case.surface, "client_abort")
    if reports:
        assert (row["usage_source"], counted(row)) == ("provider", case.row)
    else:
        assert row["usage_source"] == "estimated" and row["output_tokens"] > 0


@each
async def test_a_client_that_leaves_an_answer(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    go_on = asyncio.Event()
    upstream.expect(Script([Hold(go_on), *whole(case.body).steps]))
    asking = asyncio.ensure_future(ask(gateway, case.surface, case.ask))
    await until(lambda: _called(upstream), "the provider is asked")
    asking.cancel()
    await until(lambda: _noticed(gateway), "the gateway sees that the client left")
    go_on.set()
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"], counted(row)) == ("client_abort", "provider", case.row)


async def _noticed(gateway: RunningGateway) -> bool:
    """Of the one request in flight."""
    flow: Any = gateway.gateway.flow
    return all(exchange.channel.gone for exchange in flow._live._live)


async def _called(upstream: Upstream) -> bool:
    return bool(upstream.requests)


@each_streamed
async def test_the_sdk_raises_where_a_stream_breaks_off(
    gateway: RunningGateway, upstream: Upstream, case: Case
) -> None:
    upstream.expect(
        chunked(case.stream[:-1], tail=[Close()]) if case is RESPONSES else chunked([text_chunk("Pa")], tail=[Close()])
    )
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        seen = []
        with pytest.raises(openai.APIError, match="closed the connection before its answer was complete"):
            async for each in await _stream(client, case):
                seen.append(each)
    assert len(seen) == (len(case.stream) - 1 if case is RESPONSES else 1)
    await gateway.rows(1)


async def _stream(client: openai.AsyncOpenAI, case: Case) -> Any:
    if case is RESPONSES:
        return await client.responses.create(model="scripted-llm", input="Capital of France?", stream=True)
    return await client.completions.create(model="scripted-llm", prompt="The capital of France is", stream=True)


@each_streamed
async def test_a_revocation_cuts_a_stream_in_its_own_words(
    gateway: RunningGateway, upstream: Upstream, case: Case
) -> None:
    begun = await _under_way(gateway, upstream, case)
    (key,) = (await gateway.api("virtual-keys"))["data"]
    await gateway.api(f"virtual-keys/{key['id']}/block", method="POST", json={})
    got = await begun.read()
    assert got.startswith(b"".join(_talk(case)[:4])) and error_in(case, got)["code"] == "key_blocked"
    (row,) = await gateway.rows(1)
    assert (row["surface"], row["outcome"], row["output_tokens"] > 0) == (case.surface, "client_abort", True)


@each_streamed
async def test_a_shutdown_cuts_a_stream_in_its_own_words(
    gateway: RunningGateway, upstream: Upstream, case: Case
) -> None:
    begun = await _under_way(gateway, upstream, case)
    gateway.gateway.flow.end_all()
    got = await begun.read()
    assert got.startswith(b"".join(_talk(case)[:4])) and error_in(case, got)["code"] == "shutting_down"
    (row,) = await gateway.rows(1)
    assert (row["surface"], row["outcome"], row["output_tokens"] > 0) == (case.surface, "client_abort", True)


def _talk(case: Case) -> list[bytes]:
    """A stream that goes on for long."""
    if case is RESPONSES:
        return [*case.stream[:2], *(delta(number, f"word{number} ") for number in range(2, 400))]
    return [text_chunk(f"word{number} ") for number in range(400)]


async def _under_way(gateway: RunningGateway, upstream: Upstream, case: Case) -> aiohttp.ClientResponse:
    """Four events and more have come: the provider sends one every 50 ms."""
    upstream.expect(chunked(_talk(case), gap_s=0.05))
    response = await ask(gateway, case.surface, {**case.ask, "stream": True})
    first = sum(map(len, _talk(case)[:4]))
    await until(lambda: _waiting(response, first), "events have come")
    return response


async def _waiting(response: aiohttp.ClientResponse, size: int) -> bool:
    return response.content.total_bytes >= size
