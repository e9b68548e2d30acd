"""One request through real parts: the client's bytes, what the provider saw, and the row."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.gateway import PRICE, PROVIDER_KEY, RunningGateway, one_provider, running, settings_of
from tests.upstream.script import LAST_CHUNK, Close, Hold, Script, Send, chunk, chunked, head, raw, whole
from tests.upstream.server import Upstream

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "prompt_tokens_details": {"cached_tokens": 8}}
ANSWER = orjson.dumps(
    {"id": "chatcmpl-1", "object": "chat.completion", "model": "upstream-model", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}], "usage": USAGE}
)  # fmt: skip
ASK = {"model": "scripted-llm", "messages": [{"role": "user", "content": "Capital of France?"}]}
# 12 × 0.15 + 8 × 0.075 + 5 × 0.60 USD per million
COST = "0.0000054"


def frame(content: str | None = None, **more: object) -> bytes:
    choices = [] if content is None else [{"index": 0, "delta": {"content": content}, "finish_reason": None}]
    return (
        b"data: " + orjson.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": choices, **more}) + b"\n\n"
    )


DONE = b"data: [DONE]\n\n"


async def test_answer_row_and_cost(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(
        whole(
            ANSWER,
            headers=[
                ("content-type", "application/json"),
                ("x-request-id", "req_up"),
                ("set-cookie", "a=b"),
                ("openai-organization", "org-ours"),
            ],
        )
    )
    response = await gateway.chat(ASK, Cookie="session=1", **{"X-End-User": "ada"})
    assert response.status == 200
    assert await response.read() == ANSWER
    assert response.headers["x-synapscale-cost-usd"] == COST
    assert response.headers["x-upstream-request-id"] == "req_up"
    assert response.headers["x-request-id"].startswith("req_")
    assert "set-cookie" not in response.headers and "openai-organization" not in response.headers

    sent = upstream.requests[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert sent.header("cookie") is None
    assert sent.json() == {**ASK, "model": "upstream-model"}

    (row,) = await gateway.rows(1)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (20, 8, 5)
    assert row["list_cost_usd"] == row["charge_usd"] == COST
    assert (row["outcome"], row["usage_source"], row["key_source"], row["provider_account"]) == (
        "ok",
        "provider",
        "global",
        "ours",
    )
    assert (row["llm"], row["provider"], row["upstream_model"], row["end_user"]) == (
        "scripted-llm",
        "scripted",
        "upstream-model",
        "ada",
    )
    assert row["request_id"] == response.headers["x-request-id"]
    assert row["upstream_request_id"] == "req_up"
    (entry,) = (await gateway.api("billing/events"))["data"]
    assert (entry["kind"], entry["amount_usd"]) == ("usage", COST)


async def test_stream_asks_for_usage_and_hides_the_chunk(gateway: RunningGateway, upstream: Upstream) -> None:
    seen = [frame("Pa", usage=None), frame("ris.", usage=None)]
    upstream.expect(chunked([*seen, frame(usage=USAGE), DONE]))
    response = await gateway.chat({**ASK, "stream": True})
    assert await response.read() == b"".join(seen) + DONE
    assert upstream.requests[0].json()["stream_options"] == {"include_usage": True}
    (row,) = await gateway.rows(1)
    assert (row["list_cost_usd"], row["stream"], row["usage_source"]) == (COST, True, "provider")


async def test_stream_keeps_the_usage_chunk_of_a_client_that_asked(gateway: RunningGateway, upstream: Upstream) -> None:
    frames = [frame("Paris."), frame(usage=USAGE), DONE]
    upstream.expect(chunked(frames, piece=1))
    response = await gateway.chat({**ASK, "stream": True, "stream_options": {"include_usage": True}})
    assert await response.read() == b"".join(frames)
    await gateway.rows(1)


async def test_no_usage_is_counted_and_marked_estimated(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(chunked([frame("Paris is the capital."), DONE]))
    await gateway.chat({**ASK, "stream": True})
    (row,) = await gateway.rows(1)
    assert (row["usage_source"], row["outcome"]) == ("estimated", "ok")
    # o200k_base: "Paris is the capital." has 5 tokens; the prompt 5 for the text, 1 for the role, 6 of framing
    assert row["output_tokens"] == 5
    assert 8 <= row["input_tokens"] <= 14


async def test_a_truncated_stream_is_not_presented_as_complete(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(chunked([frame("Par")], tail=[Close()]))
    response = await gateway.chat({**ASK, "stream": True})
    body = await response.read()
    assert body.startswith(frame("Par"))
    error = orjson.loads(body.removeprefix(frame("Par")).removeprefix(b"data: "))["error"]
    assert error["code"] == "provider_response_broken"
    assert b"[DONE]" not in body
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"]) == ("upstream_error", "estimated")


async def test_a_stream_that_ends_in_order_without_its_end_is_an_error(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    upstream.expect(chunked([frame("Par")]))
    body = await (await gateway.chat({**ASK, "stream": True})).read()
    assert b'"error"' in body and b"[DONE]" not in body
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "truncated")


async def test_errors_of_the_provider_pass_with_their_status_and_without_our_account(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    error = {
        "error": {
            "message": f"Incorrect API key provided: {PROVIDER_KEY}. Org org-A1b2C3d4E5f6.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    upstream.expect(
        whole(orjson.dumps(error), status=401),
        whole(
            b'{"error":{"message":"slow down"}}',
            status=429,
            headers=[("content-type", "application/json"), ("retry-after", "7"), ("x-ratelimit-limit-requests", "10")],
        ),
    )
    response = await gateway.chat(ASK)
    text = await response.text()
    assert response.status == 401
    assert PROVIDER_KEY not in text and "org-A1b2C3d4E5f6" not in text
    response = await gateway.chat(ASK)
    assert (response.status, response.headers["retry-after"]) == (429, "7")
    assert "x-ratelimit-limit-requests" not in response.headers
    rows = await gateway.rows(2)
    assert [(row["outcome"], row["usage_source"], row["list_cost_usd"], row["upstream_status"]) for row in rows] == [
        ("upstream_error", "none", "0.00", 401), ("upstream_error", "none", "0.00", 429)]  # fmt: skip


async def test_an_error_that_calls_itself_a_success_or_is_compressed_is_cleaned_too(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    error = orjson.dumps({"error": {"message": f"Incorrect API key provided: {PROVIDER_KEY}", "code": "invalid_api_key"}})
    compressed = [("content-type", "application/json"), ("content-encoding", "gzip")]
    upstream.expect(whole(error), whole(gzip.compress(error), status=401, headers=compressed))
    named = await gateway.chat(ASK)
    assert (named.status, await named.json()) == (200, orjson.loads(error.replace(PROVIDER_KEY.encode(), b"[removed]")))
    unread = await gateway.chat(ASK)
    assert (unread.status, unread.headers.get("content-encoding")) == (401, None)
    assert "compressed" in (await unread.json())["error"]["message"]
    first, second = await gateway.rows(2)
    assert (first["outcome"], first["error_code"]) == ("upstream_error", "error_in_body")
    assert (second["outcome"], second["error_code"]) == ("upstream_error", "http_401")


async def test_a_provider_that_is_not_there(gateway: RunningGateway, upstream: Upstream) -> None:
    await upstream.stop()
    response = await gateway.chat(ASK)
    assert response.status == 502
    assert (await response.json())["error"]["code"] == "provider_unreachable"
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "unreachable")


async def test_a_client_that_leaves_is_billed_what_the_provider_reports(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    go_on = asyncio.Event()
    opening = head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
    upstream.expect(
        Script(
            [
                Send(opening + chunk(frame("Pa"))),
                Hold(go_on),
                Send(chunk(frame("ris.")) + chunk(frame(usage=USAGE) + DONE) + LAST_CHUNK),
            ]
        )
    )
    request = gateway.session.post(
        f"{gateway.url}/v1/chat/completions",
        json={**ASK, "stream": True},
        headers={"Authorization": f"Bearer {gateway.key}"},
    )
    async with request as response:
        await response.content.readany()
    response.close()
    await asyncio.sleep(0.2)  # the gateway hears of it
    go_on.set()
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"], row["list_cost_usd"]) == ("client_abort", "provider", COST)


async def test_cost_is_added_for_who_asks(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(ANSWER))
    body = await (await gateway.chat({**ASK, "usage": {"include": True}})).json()
    assert body["usage"] == {**USAGE, "cost": 0.0000054}
    assert "usage" not in upstream.requests[0].json()


async def test_own_key_is_used_before_the_global_one_and_owes_nothing(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    (workspace,) = (await gateway.api("workspaces"))["data"]
    await gateway.api(
        "user-variables",
        method="POST",
        json={
            "workspace_id": workspace["id"],
            "scope": "workspace",
            "provider": "scripted",
            "value": "fake-own-key-987654321",
        },
        status=201,
    )
    upstream.expect(whole(ANSWER), whole(b'{"error":{"message":"no"}}', status=401))
    await gateway.chat(ASK)
    response = await gateway.chat(ASK)
    assert [request.header("authorization") for request in upstream.requests] == ["Bearer fake-own-key-987654321"] * 2
    assert response.status == 401, "under own_else_global a refused own key is an error, not a change of payer"
    row, _ = await gateway.rows(2)
    assert (row["key_source"], row["provider_account"], row["list_cost_usd"], row["charge_usd"]) == (
        "workspace",
        "own",
        COST,
        "0.00",
    )
    assert row["user_variable_id"].startswith("uv_")
    assert (await gateway.api("billing/events"))["data"] == []


async def test_a_body_without_length_ends_with_its_connection(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER, Close()))
    assert await (await gateway.chat(ASK)).read() == ANSWER
    await gateway.rows(1)


async def test_a_blocked_key_is_refused_at_the_next_request(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(ANSWER))
    assert (await gateway.chat(ASK)).status == 200
    (key,) = (await gateway.api("virtual-keys"))["data"]
    await gateway.api(f"virtual-keys/{key['id']}/block", method="POST", json={})
    response = await gateway.chat(ASK)
    assert response.status == 401
    assert (await response.json())["error"]["code"] == "key_blocked"
    await gateway.rows(1)


async def test_what_was_refused_is_allowed_at_the_next_request(gateway: RunningGateway, upstream: Upstream) -> None:
    """No `admit` was asked, so the refusal itself must find out whether it is still true."""
    upstream.expect(whole(ANSWER), whole(ANSWER))
    (key,) = (await gateway.api("virtual-keys"))["data"]
    (workspace,) = (await gateway.api("workspaces"))["data"]
    await gateway.api(f"virtual-keys/{key['id']}", method="PATCH", json={"llms": ["synapscale/echo"]})
    assert (await gateway.chat(ASK)).status == 403
    await gateway.api(f"virtual-keys/{key['id']}", method="PATCH", json={"llms": None})
    assert (await gateway.chat(ASK)).status == 200
    await gateway.api(f"workspaces/{workspace['id']}", method="PATCH", json={"key_policy": "own_only"})
    assert (await (await gateway.chat(ASK)).json())["error"]["code"] == "no_provider_key"
    variable = {"workspace_id": workspace["id"], "scope": "workspace", "provider": "scripted", "value": "fake-own-key-1"}
    await gateway.api("user-variables", method="POST", json=variable, status=201)
    assert (await gateway.chat(ASK)).status == 200
    await gateway.rows(2)


async def test_cost_is_added_in_streams_too(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(chunked([frame("Paris."), frame(usage=USAGE), DONE]))
    body = await (await gateway.chat({**ASK, "stream": True, "usage": {"include": True}})).read()
    before, chunk_with_usage, end = body.partition(b"data: " + orjson.dumps({"id": "c1"})[:-1])[0], body, DONE
    assert before == b"" and body.startswith(frame("Paris.")) and body.endswith(end)
    usage = orjson.loads(chunk_with_usage[len(frame("Paris.")) + 6 : -len(end)])["usage"]
    assert usage == {**USAGE, "cost": 0.0000054}
    await gateway.rows(1)


async def test_a_database_set_back_behind_redis_is_lifted(gateway: RunningGateway, upstream: Upstream) -> None:
    """A restored backup has older epochs than Redis: without lifting them every request would stay `stale`."""
    upstream.expect(whole(ANSWER), whole(ANSWER))
    assert (await gateway.chat(ASK)).status == 200
    (workspace,) = (await gateway.api("workspaces"))["data"]
    for _ in range(3):
        await gateway.api(f"workspaces/{workspace['id']}", method="PATCH", json={"name": "renamed"})
    async with gateway.gateway.pool.acquire() as conn:
        await conn.execute("UPDATE epochs SET epoch = 1")
    assert (await gateway.chat(ASK)).status == 200
    await gateway.rows(2)


async def test_the_second_route_answers_for_a_first_that_is_not_there(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers = {
        "gone": {"dialect": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": PROVIDER_KEY},
        "there": {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY},
    }
    routes = [{"provider": name, "model": "upstream-model", "price": PRICE} for name in ("gone", "there")]
    settings = settings_of(tmp_path, database_url, redis_url, providers, [{"name": "scripted-llm", "routes": routes}])
    upstream.expect(whole(ANSWER))
    async with running(settings) as gateway:
        response = await gateway.chat(ASK)
        assert (response.status, response.headers["x-synapscale-attempts"]) == (200, "2")
        rows = sorted(await gateway.rows(2), key=lambda row: int(row["attempt_number"]))
    assert [(row["attempt_number"], row["provider"], row["outcome"]) for row in rows] == [
        (1, "gone", "upstream_error"), (2, "there", "ok")]  # fmt: skip
    assert rows[0]["request_id"] == rows[1]["request_id"]


async def test_a_server_of_your_own_needs_no_key(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> None:
    providers, llms = one_provider(upstream.base_url, auth="none", api_key=None)
    upstream.expect(whole(ANSWER))
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms)) as gateway:
        assert (await gateway.chat(ASK)).status == 200
        assert upstream.requests[0].header("authorization") is None
        (row,) = await gateway.rows(1)
    assert (row["key_source"], row["provider_account"]) == ("global", "ours")


async def test_a_body_that_breaks_off_cuts_the_connection(gateway: RunningGateway, upstream: Upstream) -> None:
    """Too large to be held, so its head is out: an event in it, or the next answer behind it, would be read as its rest."""
    opening = head(200, [("content-type", "application/json"), ("content-length", str(20 << 20))])
    upstream.expect(raw(opening + b"x" * (17 << 20), Close()))
    with pytest.raises(aiohttp.ClientPayloadError):
        await gateway.chat(ASK)
    (row,) = await gateway.rows(1)
    assert row["outcome"] == "upstream_error"


async def test_an_error_too_large_to_hold_does_not_pass(gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(PROVIDER_KEY.encode() + b"x" * (17 << 20), status=401))
    response = await gateway.chat(ASK)
    assert response.status == 401
    assert PROVIDER_KEY.encode() not in await response.read()
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"], row["charge_usd"]) == ("upstream_error", "none", "0.00")


async def test_an_own_key_is_not_echoed_either(gateway: RunningGateway, upstream: Upstream) -> None:
    (workspace,) = (await gateway.api("workspaces"))["data"]
    own = {"workspace_id": workspace["id"], "scope": "workspace", "provider": "scripted", "value": "fake-own-key-987654321"}
    await gateway.api("user-variables", method="POST", json=own, status=201)
    upstream.expect(whole(b'{"error":{"message":"bad key fake-own-key-987654321"}}', status=401))
    assert await (await gateway.chat(ASK)).read() == b'{"error":{"message":"bad key [removed]"}}'
    await gateway.rows(1)


async def test_text_behind_an_early_usage_is_counted_when_the_stream_breaks(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    early = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
    words = [frame("Paris is the capital. ") for _ in range(20)]
    upstream.expect(chunked([frame("", usage=early), *words], tail=[Close()]))
    await gateway.chat({**ASK, "stream": True})
    (row,) = await gateway.rows(1)
    assert (row["outcome"], row["usage_source"], row["input_tokens"]) == ("upstream_error", "estimated", 20)
    assert row["output_tokens"] >= 80


async def test_idempotency_keys_of_two_workspaces_do_not_meet_at_the_provider(
    gateway: RunningGateway, upstream: Upstream
) -> None:
    upstream.expect(whole(ANSWER), whole(ANSWER))
    for _ in range(2):
        await gateway.chat(ASK, **{"Idempotency-Key": "once"})
    first, second = (request.header("idempotency-key") for request in upstream.requests)
    assert first == second != "once"
    await gateway.rows(2)
