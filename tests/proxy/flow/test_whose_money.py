"""Whose key, whose money: policies, plans and endings on a running gateway, down to the entries of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway import PRICE, PROVIDER_KEY, RunningGateway, running, settings_of
from tests.upstream.script import Silence, chunked, whole
from tests.upstream.server import Upstream

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}
ANSWER = orjson.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE})
# 20 × 0.15 + 5 × 0.60 USD per million
COST = "0.000006"
ASK = {"model": "scripted-llm", "messages": [{"role": "user", "content": "Capital of France?"}]}
OWN_KEY, USERS_KEY = "fake-own-key-987654321", "fake-users-key-12345678"
QUOTA = whole(b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}', status=429)


def refusal(status: int) -> Any:
    return whole(b'{"error":{"message":"no"}}', status=status)


@pytest.fixture
async def house(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    """`scripted-llm` at one provider; `two-routes` there and at another one; `rare` has no price and must have one."""
    provider = {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY}
    here, there = ({"provider": name, "model": "m", "price": PRICE} for name in ("scripted", "other"))
    llms = [
        {"name": "scripted-llm", "routes": [here]}, {"name": "two-routes", "routes": [here, there]},
        {"name": "rare", "routes": [{"provider": "scripted", "model": "rare"}], "unpriced": "reject"},
    ]  # fmt: skip
    settings = settings_of(
        tmp_path, database_url, redis_url, {"scripted": provider, "other": provider}, llms, upstream={"drain_s": 1.0}
    )
    async with running(settings) as up:
        yield up


async def workspace_of(house: RunningGateway) -> str:
    (workspace,) = (await house.api("workspaces"))["data"]
    return str(workspace["id"])


async def own_key(house: RunningGateway, value: str = OWN_KEY, **of: Any) -> None:
    body = {"workspace_id": await workspace_of(house), "scope": "workspace", "provider": "scripted", "value": value}
    await house.api("user-variables", method="POST", json=body | of, status=201)


async def policy(house: RunningGateway, name: str) -> None:
    await house.api(f"workspaces/{await workspace_of(house)}", method="PATCH", json={"key_policy": name}, status=200)


async def plan(house: RunningGateway, **terms: Any) -> None:
    await house.api(f"workspaces/{await workspace_of(house)}/plan", method="PUT", json=terms, status=200)


def sent_keys(upstream: Upstream) -> list[str | None]:
    return [(request.header("authorization") or "").removeprefix("Bearer ") for request in upstream.requests]


async def entries(house: RunningGateway) -> list[tuple[str, str]]:
    rows = (await house.api("billing/events?order=asc&limit=100"))["data"]
    return [(row["kind"], row["amount_usd"]) for row in rows]


def whose(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["key_source"], row["provider_account"], row["upstream_status"], row["charge_usd"]) for row in rows]


# -- whose key ------------------------------------------------------------------------------------------------------


async def test_the_users_key_goes_before_the_workspaces_and_that_before_the_global_one(
    house: RunningGateway, upstream: Upstream
) -> None:
    upstream.expect(whole(ANSWER), whole(ANSWER), whole(ANSWER))
    await house.chat(ASK)
    await own_key(house)
    await house.chat(ASK)
    (user,) = (await house.api("users"))["data"]
    await own_key(house, USERS_KEY, scope="user", user_id=user["id"])
    await house.chat(ASK)
    assert sent_keys(upstream) == [PROVIDER_KEY, OWN_KEY, USERS_KEY]
    assert whose(await house.rows(3)) == [
        ("global", "ours", 200, COST), ("workspace", "own", 200, "0.00"), ("user", "own", 200, "0.00")]  # fmt: skip


REFUSALS = {401: refusal(401), 403: refusal(403), 429: QUOTA}


async def test_a_refused_own_key_is_an_error_and_no_change_of_payer(house: RunningGateway, upstream: Upstream) -> None:
    """Nor at another provider that would answer: that one has the platform's key only."""
    await own_key(house)
    answered = []
    for name in ("own_else_global", "own_only"):
        await policy(house, name)
        for llm in ("scripted-llm", "two-routes"):
            upstream.expect(*REFUSALS.values())
            answered += [(await house.chat({**ASK, "model": llm})).status for _ in REFUSALS]
    assert answered == [*REFUSALS] * 4
    assert sent_keys(upstream) == [OWN_KEY] * 12
    # As a multiset: the clock is set by Redis, so two of one millisecond may stand either way.
    assert Counter(whose(await house.rows(12))) == Counter(("workspace", "own", status, "0.00") for status in answered)
    assert await entries(house) == []


async def test_own_then_global_tries_again_on_the_platforms_account(
    house: RunningGateway, upstream: Upstream
) -> None:
    await own_key(house)
    await policy(house, "own_then_global")
    await plan(house, markup_bps=1_250)
    for answer in REFUSALS.values():
        upstream.expect(answer, whole(ANSWER))
        response = await house.chat(ASK)
        assert (response.status, response.headers["x-synapscale-attempts"]) == (200, "2")
    assert sent_keys(upstream) == [OWN_KEY, PROVIDER_KEY] * 3
    rows = await house.rows(6)
    of_request: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["attempt_number"])):
        of_request.setdefault(row["request_id"], []).append(row)
    assert sorted(whose(attempts) for attempts in of_request.values()) == [
        [("workspace", "own", status, "0.00"), ("global", "ours", 200, "0.00000675")] for status in REFUSALS]  # fmt: skip
    assert await entries(house) == [("usage", "0.00000675")] * 3


async def test_own_then_global_is_for_refusals_only(house: RunningGateway, upstream: Upstream) -> None:
    await own_key(house)
    await policy(house, "own_then_global")
    upstream.expect(refusal(400), refusal(500))
    assert [(await house.chat(ASK)).status for _ in range(2)] == [400, 500]
    assert [row[0] for row in whose(await house.rows(2))] == ["workspace", "workspace"]


async def test_own_only_and_global_only(house: RunningGateway, upstream: Upstream) -> None:
    await policy(house, "own_only")
    assert (await (await house.chat(ASK)).json())["error"]["code"] == "no_provider_key"
    await own_key(house)
    upstream.expect(whole(ANSWER), whole(ANSWER))
    await house.chat(ASK)
    await policy(house, "global_only")
    await house.chat(ASK)
    assert sent_keys(upstream) == [OWN_KEY, PROVIDER_KEY]
    assert whose(await house.rows(2)) == [("workspace", "own", 200, "0.00"), ("global", "ours", 200, COST)]


# -- whose money ----------------------------------------------------------------------------------------------------


async def test_a_markup_and_an_override_are_in_force_at_the_next_request(
    house: RunningGateway, upstream: Upstream
) -> None:
    upstream.expect(whole(ANSWER), whole(ANSWER), whole(ANSWER))
    await house.chat(ASK)
    await plan(house, markup_bps=1_250)
    response = await house.chat(ASK)
    assert response.headers["x-synapscale-cost-usd"] == COST, "what the header tells is the list cost"
    body = {"llm": "scripted-llm", "markup_bps": -5_000}
    await house.api(f"workspaces/{await workspace_of(house)}/prices", method="POST", json=body, status=201)
    await house.chat(ASK)
    rows = await house.rows(3)
    assert {row["list_cost_usd"] for row in rows} == {COST}
    # 20 × 150000 and 5 × 600000 pico-USD, each line × 1.125
    assert [row["charge_usd"] for row in rows] == [COST, "0.00000675", "0.000003"]
    assert [line["charge_usd"] for line in rows[1]["lines"]] == ["0.000003375", "0.000003375"]
    assert await entries(house) == [("usage", COST), ("usage", "0.00000675"), ("usage", "0.000003")]


async def test_own_keys_pay_a_fee_after_the_months_allowance(house: RunningGateway, upstream: Upstream) -> None:
    await own_key(house)
    await plan(house, platform_fee_bps=500, free_fees_usd="0.0000005")
    upstream.expect(*[whole(ANSWER) for _ in range(3)])
    for _ in range(3):
        await house.chat(ASK)
        await house.rows(len(upstream.requests))
    assert whose(await house.rows(3)) == [("workspace", "own", 200, "0.0000003")] * 3
    assert await entries(house) == [
        ("platform_fee", "0.0000003"), ("credit", "-0.0000003"),
        ("platform_fee", "0.0000003"), ("credit", "-0.0000002"),
        ("platform_fee", "0.0000003"),
    ]  # fmt: skip


async def test_the_operators_own_workspace_pays_nothing(house: RunningGateway, upstream: Upstream) -> None:
    await plan(house, internal=True, markup_bps=1_250, platform_fee_bps=500)
    upstream.expect(whole(ANSWER), whole(ANSWER))
    await house.chat(ASK)
    await own_key(house)
    await house.chat(ASK)
    rows = await house.rows(2)
    assert {(row["list_cost_usd"], row["charge_usd"]) for row in rows} == {(COST, "0.00")}
    assert await reasons(house) == ["internal", "internal"]
    assert await entries(house) == []


async def reasons(house: RunningGateway) -> list[str]:
    async with house.gateway.pool.acquire() as db:
        rows = await db.fetch("SELECT charge_reason FROM usage_events ORDER BY attempt_id")
    return [row["charge_reason"] for row in rows]


EMPTY = {**CHOICE, "message": {"role": "assistant", "content": ""}, "finish_reason": None}
NO_OUTPUT = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
PROMPT_COST = "0.000003"


def answer_of(choice: dict[str, Any], usage: dict[str, int]) -> Any:
    return whole(orjson.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}))


def stream_of(finish: str | None) -> Any:
    """Without a finish it ends in order, as where a provider gives up; its usage came with the only frame."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": finish}
    frame = b"data: " + orjson.dumps({"id": "c", "choices": [choice], "usage": NO_OUTPUT}) + b"\n\n"
    return chunked([frame, b"data: [DONE]\n\n"] if finish else [frame])


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_output_and_finish_is_not_charged(
    house: RunningGateway, upstream: Upstream, stream: bool
) -> None:
    empty = stream_of(None) if stream else answer_of(EMPTY, NO_OUTPUT)
    finished = stream_of("stop") if stream else answer_of({**EMPTY, "finish_reason": "stop"}, NO_OUTPUT)
    upstream.expect(empty, finished, empty)
    await house.chat({**ASK, "stream": stream})
    await house.chat({**ASK, "stream": stream})
    await plan(house, empty_answer_free=False)
    await house.chat({**ASK, "stream": stream})
    rows = await house.rows(3)
    assert [(row["list_cost_usd"], row["charge_usd"]) for row in rows] == [
        (PROMPT_COST, "0.00"), (PROMPT_COST, PROMPT_COST), (PROMPT_COST, PROMPT_COST)]  # fmt: skip
    assert await reasons(house) == ["empty_answer", "", ""]
    assert await entries(house) == [("usage", PROMPT_COST), ("usage", PROMPT_COST)]


@pytest.mark.parametrize(
    ("finish", "done", "charged"),
    [("", True, False), ("error", True, False), (None, True, False), (None, False, False), ("stop", False, True)],
)
async def test_a_finish_that_is_none_makes_no_empty_answer_whole(
    house: RunningGateway, upstream: Upstream, finish: str | None, done: bool, charged: bool
) -> None:
    """Neither blank nor an error is a finish, nor are usage and [DONE]."""
    choice = {"index": 0, "delta": {"role": "assistant"}, "finish_reason": finish}
    chunks = [{"id": "c", "choices": [choice]}, {"id": "c", "choices": [], "usage": NO_OUTPUT}]
    data = [b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks]
    upstream.expect(chunked([*data, b"data: [DONE]\n\n"] if done else data))
    await house.chat({**ASK, "stream": True})
    (row,) = await house.rows(1)
    assert (row["list_cost_usd"], row["charge_usd"]) == (PROMPT_COST, PROMPT_COST if charged else "0.00")


@pytest.mark.parametrize(("leaves", "charged"), [("void", False), ("cancel", True)])
async def test_what_a_client_leaves_is_charged_unless_it_is_void(
    house: RunningGateway, upstream: Upstream, leaves: str, charged: bool
) -> None:
    path = f"workspaces/{await workspace_of(house)}"
    await house.api(path, method="PATCH", json={"client_leaves": leaves}, status=200)
    frame = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Paris"}, "finish_reason": None}]}
    upstream.expect(chunked([b"data: " + orjson.dumps(frame) + b"\n\n"], tail=[Silence()]))
    response = await house.session.post(
        f"{house.url}/v1/chat/completions", json={**ASK, "stream": True}, headers={"Authorization": f"Bearer {house.key}"}
    )
    await response.content.readany()
    response.close()
    (row,) = await house.rows(1)
    assert (row["outcome"], row["list_cost_usd"] != "0.00") == ("client_abort", True)
    assert (row["charge_usd"] != "0.00", await reasons(house)) == (charged, [""] if charged else ["void"])
    assert await entries(house) == ([("usage", row["charge_usd"])] if charged else [])


async def test_an_error_that_consumed_nothing_owes_nothing(house: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(refusal(500))
    await house.chat(ASK)
    assert whose(await house.rows(1)) == [("global", "ours", 500, "0.00")]
    assert await entries(house) == []


# -- no price -------------------------------------------------------------------------------------------------------


async def test_an_llm_can_refuse_until_it_has_a_price(house: RunningGateway, upstream: Upstream) -> None:
    ask = {**ASK, "model": "rare"}
    response = await house.chat(ask)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (403, "model_unpriced", "model")
    assert "prices set rare" in error["message"] and upstream.requests == []
    await house.api("prices", method="POST", json={"llm": "rare", "price": PRICE}, status=201)
    upstream.expect(whole(ANSWER))
    assert (await house.chat(ask)).status == 200, "in force at the next request"
    (row,) = await house.rows(1)
    assert row["llm"] == "rare"
