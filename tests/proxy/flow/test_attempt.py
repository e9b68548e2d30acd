"""An attempt's ways out that a client or a store cause, and the one that only a bug does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson
import pytest

from proxy.flow import attempt
from tests.gateway import RunningGateway, one_provider, running, settings_of, until
from tests.line import Line
from tests.upstream.script import Hold, Script, Send, head, whole
from tests.upstream.server import Upstream

ASK = {"model": "scripted-llm", "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = orjson.dumps(
    {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
)


async def test_who_leaves_while_being_announced_costs_nothing(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url)
    upstream.expect(whole(ANSWER), whole(ANSWER))
    async with Line(unquote(urlsplit(redis_url).path)) as line:
        settings = settings_of(tmp_path, database_url, line.redis_url, providers, llms)
        async with running(settings) as up:
            assert (await up.chat(ASK)).status == 200
            line.stall()
            with pytest.raises(asyncio.TimeoutError):
                await up.session.post(
                    f"{up.url}/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {up.key}"},
                    timeout=aiohttp.ClientTimeout(total=0.3),
                )  # fmt: skip
            line.resume()

            async def over() -> bool:
                return up.gateway.load.in_flight == 0

            await until(over, "nothing in flight")
            assert len(upstream.requests) == 1
            assert not up.gateway.desk.in_flight
            assert (await up.chat(ASK)).status == 200
            await up.rows(2)


async def test_a_bug_settles_as_abandoned_and_the_client_hears_of_it(
    gateway: RunningGateway, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.expect(whole(ANSWER), whole(ANSWER))
    with patch.object(attempt, "of_body", side_effect=RuntimeError("a bug")), caplog.at_level(logging.ERROR):
        response = await gateway.chat(ASK)
    assert response.status == 500
    assert (await response.json())["error"]["code"] == "internal_error"
    assert "a bug" in caplog.text and "a bug" not in await response.text()
    caplog.clear()
    assert (await gateway.chat(ASK)).status == 200
    outcomes = [row["outcome"] for row in await gateway.rows(2)]
    assert outcomes == ["abandoned", "ok"]
    assert gateway.gateway.load.in_flight == 0


async def test_a_client_that_leaves_an_answer_too_large_to_hold_owes_what_the_provider_reports(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    go_on = asyncio.Event()
    size = 20 * 1024 * 1024
    usage = b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
    body = b'{"choices":[{"message":{"content":"' + b"x" * size + b'"}}],' + usage
    opening = head(200, [("content-type", "application/json"), ("content-length", str(len(body)))])
    upstream.expect(Script([Send(opening + body[:1000]), Hold(go_on), Send(body[1000:])]))
    with pytest.raises(asyncio.TimeoutError):
        await gateway.session.post(
            f"{gateway.url}/v1/chat/completions", json=ASK, headers={"Authorization": f"Bearer {gateway.key}"},
            timeout=aiohttp.ClientTimeout(total=0.3),
        )  # fmt: skip
    go_on.set()
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"]) == ("client_abort", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (10, 5)


@pytest.mark.parametrize("odd", [b'"logprobs":NaN,', b'"note":"\\ud83d",'], ids=["NaN", "half a surrogate"])
async def test_one_odd_value_does_not_cost_the_providers_word_on_usage(
    gateway: RunningGateway, upstream: Upstream, odd: bytes
) -> None:
    upstream.expect(whole(ANSWER.replace(b"{", b"{" + odd, 1)))
    assert (await gateway.chat(ASK)).status == 200
    (row,) = await gateway.rows(1)
    assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("provider", 1, 1)
