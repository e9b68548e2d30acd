"""Responses, completions, embeddings and moderations through real parts: the client's bytes, what the provider saw, the row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway import PROVIDER_KEY, RunningGateway, running, settings_of
from tests.proxy.ingress.cases import (
    COMPLETIONS,
    DONE,
    EMBEDDINGS,
    EVERY,
    MODERATIONS,
    REFUSAL,
    RESPONSES,
    STREAMED,
    USAGE_CHUNK,
    Case,
    ask,
    counted,
    own_key,
    served,
    text_chunk,
)
from tests.upstream.script import chunked, whole
from tests.upstream.server import Upstream

each = pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
each_streamed = pytest.mark.parametrize("case", STREAMED.values(), ids=STREAMED)


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    async with running(settings_of(tmp_path, database_url, redis_url, *served(upstream.base_url))) as up:
        yield up


@each
async def test_answer_row_and_cost(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    upstream.expect(whole(case.body))
    response = await ask(gateway, case.surface, case.ask, **{"X-End-User": "ada", "Cookie": "session=1"})
    assert (response.status, await response.read()) == (200, case.body)
    assert response.headers["x-synapscale-cost-usd"] == case.cost_usd
    (sent,) = upstream.requests
    assert (sent.method, sent.path) == ("POST", f"/v1/{case.surface}")
    assert sent.json() == {**case.ask, "model": "upstream-model"}
    assert (sent.header("authorization"), sent.header("cookie")) == (f"Bearer {PROVIDER_KEY}", None)
    (row,) = await gateway.rows(1)
    assert (row["surface"], row["stream"], row["llm"], row["end_user"]) == (case.surface, False, "scripted-llm", "ada")
    assert (counted(row), row["usage_source"], row["outcome"]) == (case.row, "provider", "ok")
    assert (row["list_cost_usd"], row["charge_usd"], row["pricing"]) == (case.cost_usd, case.cost_usd, "priced")
    assert (row["key_source"], row["provider_account"]) == ("global", "ours")


@each_streamed
async def test_a_stream(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    reports = [USAGE_CHUNK] if case is COMPLETIONS else []  # hidden: only the gateway asked for it
    upstream.expect(chunked([*case.stream[:-1], *reports, case.stream[-1]], piece=7))
    response = await ask(gateway, case.surface, {**case.ask, "stream": True, "user": "ada"})
    assert await response.read() == b"".join(case.stream)
    assert response.headers["content-type"].startswith("text/event-stream")
    asked = upstream.requests[0].json()
    assert asked.get("stream_options") == ({"include_usage": True} if case is COMPLETIONS else None)
    (row,) = await gateway.rows(1)
    assert (row["surface"], row["stream"], row["end_user"]) == (case.surface, True, "ada")
    assert (counted(row), row["usage_source"], row["outcome"]) == (case.row, "provider", "ok")
    assert row["list_cost_usd"] == case.cost_usd


async def test_completions_keep_the_usage_chunk_of_a_client_that_asked(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    events = [*COMPLETIONS.stream[:-1], USAGE_CHUNK, DONE]
    upstream.expect(chunked(events), chunked(events))
    for included, got in ((True, events), (False, COMPLETIONS.stream)):
        body = {**COMPLETIONS.ask, "stream": True, "stream_options": {"include_usage": included}}
        assert await (await ask(gateway, "completions", body)).read() == b"".join(got)
    assert [request.json()["stream_options"] for request in upstream.requests] == [{"include_usage": True}] * 2
    assert {counted(row) for row in await gateway.rows(2)} == {(20, 8, 5)}


@each
async def test_errors_of_the_provider_pass_without_our_account(
    gateway: RunningGateway, upstream: Upstream, case: Case
) -> None:
    slow = [("content-type", "application/json"), ("retry-after", "7"), ("x-ratelimit-limit-requests", "10")]
    upstream.expect(whole(REFUSAL, status=401), whole(b'{"error":{"message":"slow down"}}', status=429, headers=slow))
    response = await ask(gateway, case.surface, case.ask)
    text = await response.text()
    assert response.status == 401
    assert PROVIDER_KEY not in text and "org-A1b2C3d4E5f6" not in text and "Incorrect API key" in text
    response = await ask(gateway, case.surface, {**case.ask, **({"stream": True} if case.stream else {})})
    assert (response.status, response.headers["retry-after"]) == (429, "7")
    assert "x-ratelimit-limit-requests" not in response.headers
    names = ("surface", "outcome", "usage_source", "upstream_status", "charge_usd")
    found = sorted(tuple(row[name] for name in names) for row in await gateway.rows(2))
    assert found == [(case.surface, "upstream_error", "none", status, "0.00") for status in (401, 429)]


@each
async def test_an_own_key_is_used_and_owes_nothing(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    await own_key(gateway, "fake-own-key-987654321")
    upstream.expect(whole(case.body), whole(b'{"error":{"message":"bad key fake-own-key-987654321"}}', status=401))
    assert (await ask(gateway, case.surface, case.ask)).status == 200
    refused = await ask(gateway, case.surface, case.ask)
    assert (refused.status, await refused.read()) == (401, b'{"error":{"message":"bad key [removed]"}}')
    assert {sent.header("authorization") for sent in upstream.requests} == {"Bearer fake-own-key-987654321"}
    rows = await gateway.rows(2)
    assert {(row["key_source"], row["charge_usd"]) for row in rows} == {("workspace", "0.00")}
    assert [row["list_cost_usd"] for row in rows if row["outcome"] == "ok"] == [case.cost_usd]


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Paris", "encoding_format": "base64", "dimensions": 2},
        {"input": ["Paris", "Rome"], "encoding_format": "float"},
        {"input": [12366, 13]},
        {"input": [[12366, 13], [49, 441]], "encoding_format": "base64"},
    ],
)
async def test_embeddings_of_texts_and_token_ids(
    gateway: RunningGateway, upstream: Upstream, body: dict[str, Any]
) -> None:
    vectors = "AACAPgAAAL8=" if body.get("encoding_format") == "base64" else [0.25, -0.5]
    answer = {**EMBEDDINGS.answer, "data": [{"object": "embedding", "index": 0, "embedding": vectors}]}
    upstream.expect(whole(orjson.dumps(answer)))
    assert await (await ask(gateway, "embeddings", body)).json() == answer
    assert upstream.requests[0].json() == {**body, "model": "upstream-model"}
    (row,) = await gateway.rows(1)
    assert counted(row) == EMBEDDINGS.row


async def test_moderations_without_a_model_go_to_the_default_one(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(MODERATIONS.body))
    response = await gateway.session.post(
        f"{gateway.url}/v1/moderations", json=MODERATIONS.ask, headers={"Authorization": f"Bearer {gateway.key}"}
    )
    assert await response.read() == MODERATIONS.body
    assert upstream.requests[0].json() == {**MODERATIONS.ask, "model": "upstream-model"}
    (row,) = await gateway.rows(1)
    assert (row["llm"], row["usage_source"], row["list_cost_usd"]) == ("omni-moderation-latest", "provider", "0.00")


@pytest.mark.parametrize(
    "body", [{"n": 2, "best_of": 3}, {"prompt": ["One", "Two"]}, {"prompt": [[1, 2], [3]], "best_of": 2}]
)
async def test_completions_of_several_choices_are_over_when_all_have_finished(
    gateway: RunningGateway, upstream: Upstream, body: dict[str, Any]
) -> None:
    """Without [DONE]: a finish reason of one choice says nothing of the other."""
    first, second = text_chunk("Pa", finish="stop"), text_chunk("Ro", index=1, finish="length")
    upstream.expect(chunked([first, text_chunk("R", index=1)]), chunked([first, second]))
    asked = {**COMPLETIONS.ask, **body, "stream": True}
    assert b"provider_response_broken" in await (await ask(gateway, "completions", asked)).read()
    assert await (await ask(gateway, "completions", asked)).read() == first + second
    assert {name: upstream.requests[0].json()[name] for name in body} == body
    found = {(row["outcome"], row["error_code"], row["usage_source"]) for row in await gateway.rows(2)}
    assert found == {("upstream_error", "truncated", "estimated"), ("ok", None, "estimated")}


@each
async def test_cost_is_added_for_who_asks(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    upstream.expect(whole(case.body))
    body = await (await ask(gateway, case.surface, {**case.ask, "usage": {"include": True}})).json()
    assert body == {**case.answer, "usage": {**case.answer.get("usage", {}), "cost": float(case.cost_usd)}}
    assert "usage" not in upstream.requests[0].json()
    await gateway.rows(1)


@each_streamed
async def test_cost_is_added_in_streams_too(gateway: RunningGateway, upstream: Upstream, case: Case) -> None:
    """Events of the Responses API have the usage in their `response`."""
    events = list(case.stream) if case is RESPONSES else [*case.stream[:-1], USAGE_CHUNK, DONE]
    at = -1 if case is RESPONSES else -2
    upstream.expect(chunked(events))
    got = await (await ask(gateway, case.surface, {**case.ask, "stream": True, "usage": {"include": True}})).read()
    before = b"".join(events[:at])
    after = b"" if at == -1 else DONE
    assert got.startswith(before) and got.endswith(after)
    shown, sent = (frame.rpartition(b"data: ")[2] for frame in (got[len(before) : len(got) - len(after)], events[at]))
    expected = orjson.loads(sent)
    (expected["response"] if case is RESPONSES else expected)["usage"]["cost"] = 0.0000054
    assert orjson.loads(shown) == expected
    assert list(orjson.loads(shown)) == list(expected)
    await gateway.rows(1)


@each
async def test_an_answer_that_reports_nothing_is_estimated_by_its_surface(
    gateway: RunningGateway, upstream: Upstream, case: Case
) -> None:
    upstream.expect(whole(case.without_usage()))
    assert await (await ask(gateway, case.surface, case.ask)).read() == case.without_usage()
    (row,) = await gateway.rows(1)
    # o200k_base: the texts have 4, 5 and 1 tokens, the answers 2; a conversation has framing around them
    framed = 8 if case is RESPONSES else 0
    given, made = {"responses": (4, 2), "completions": (5, 2), "embeddings": (1, 0), "moderations": (0, 0)}[
        case.surface
    ]
    assert given <= row["input_tokens"] <= given + framed and made <= row["output_tokens"] <= made + framed, row
    assert row["usage_source"] == ("provider" if case is MODERATIONS else "estimated")


@pytest.mark.parametrize("surface", ["responses", "completions"])
async def test_an_llm_whose_provider_lacks_the_surface(gateway: RunningGateway, surface: str) -> None:
    response = await ask(gateway, surface, {**EVERY[surface].ask, "model": "narrow-llm"})
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert f"no {surface}" in error["message"] and "chat, embeddings, moderations" in error["message"]
    assert (await gateway.api("usage/events"))["data"] == []


async def test_a_response_in_the_background_is_refused(gateway: RunningGateway, upstream: Upstream) -> None:
    response = await ask(gateway, "responses", {**RESPONSES.ask, "background": True})
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (400, "invalid_value", "background")
    assert upstream.requests == [] and (await gateway.api("usage/events"))["data"] == []
    upstream.expect(whole(RESPONSES.body))
    assert (await ask(gateway, "responses", {**RESPONSES.ask, "background": False})).status == 200
    await gateway.rows(1)
