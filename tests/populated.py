"""A ledger with something of every kind in it, written by a real gateway and worker.

Import the fixture: `from tests.populated import ledger_url`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import Connection, connect
from proxy.storage.redis import open_redis
from proxy.wire.ids import uuid7
from tests.conftest import TEMPLATE, execute, run_now
from tests.gateway import PRICE, RunningGateway, running, settings_of, until
from tests.upstream.script import Close, Script, chunked, whole
from tests.upstream.server import Recorded, Upstream

OWN_KEY = "own-provider-key-0123456789"


def usage(prompt: int, cached: int, completion: int, reasoning: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": reasoning},
    }  # fmt: skip


def body(counts: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": counts, **more}
    return json.dumps(answer).encode()


def stream(counts: dict[str, Any] | None, *, ends: bool = True) -> Script:
    def event(data: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", **data}).encode() + b"\n\n"

    events = [event({"choices": [{"index": 0, "delta": {"content": word}}]}) for word in ("one ", "two ", "three")]
    if ends:
        events.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    if counts is not None:
        events.append(event({"choices": [], "usage": counts}))
    return chunked([*events, b"data: [DONE]\n\n"]) if ends else chunked(events, tail=[Close()])


def answer(request: Recorded) -> Script:
    """By the number in the prompt: every kind of ending, and figures of their own."""
    sent = request.json()
    number = int(sent["messages"][0]["content"])
    counts = usage(1000 + number, number % 5 * 100, 50 + number, number % 3 * 10)
    if sent.get("stream"):
        return [stream(counts), stream(None), stream(None, ends=False)][number % 3]
    match number % 7:
        case 5:
            return whole(b'{"error":{"message":"busy","type":"server_error"}}', status=500)
        case 6:
            return whole(body(counts, service_tier="priority"))
        case _:
            return whole(body(counts))


Finish = Callable[[RunningGateway, Connection], Awaitable[None]]


async def populate(dsn: str, redis_url: str, folder: Path, finish: Finish) -> None:
    """`finish` is called with the gateway still running, once everything is in the ledger."""
    async with Upstream() as upstream:
        upstream.always(answer)
        providers: dict[str, Any] = {
            "scripted": {"dialect": "openai", "base_url": upstream.base_url, "api_key": "fake-provider-key-0123456789"},
            "byo": {"dialect": "openai", "base_url": upstream.base_url},
        }
        llms: list[dict[str, Any]] = [
            {"name": name, "routes": [{"provider": provider, "model": name}], "context_window": 128_000, "max_output": 4096,
             **({"price": price} if price else {})}
            for name, provider, price in (
                ("priced", "scripted", PRICE), ("odd", "scripted", {"input": "0.0000007", "output": "0.0000003"}),
                ("unpriced", "scripted", None), ("own", "byo", {"input": "0.33", "output": "0.7777777"}),
            )
        ]  # fmt: skip
        settings = settings_of(folder, dsn, redis_url, providers, llms, server={"shutdown_grace_s": 1.0})
        async with running(settings) as up:
            await _with_plan(dsn)
            await _with_own_key(up)
            await asyncio.gather(*(_call(up, number) for number in range(240)))
            db = await connect(dsn, application_name="tests")
            try:
                await until(lambda: _settled(db), "all of it is in the ledger", 30)
                await finish(up, db)
            finally:
                await db.close()


async def _with_plan(dsn: str) -> None:
    """Before the first request. A markup that does not divide evenly, a fee, and an allowance that some fees exceed."""
    await execute(
        dsn,
        "INSERT INTO plans (id, workspace_id, markup_bps, platform_fee_bps, free_fees_pusd, effective_from)"
        " SELECT gen_random_uuid(), id, 1233, 517, 300000000, '2020-01-01' FROM workspaces",
    )


async def _with_own_key(up: RunningGateway) -> None:
    (workspace,) = (await up.api("workspaces"))["data"]
    variable = {"workspace_id": workspace["id"], "scope": "workspace", "provider": "byo", "value": OWN_KEY}
    await up.api("user-variables", method="POST", json=variable, status=201)


async def _call(up: RunningGateway, number: int) -> None:
    llm = ("priced", "odd", "unpriced", "own")[number % 4]
    sent = {"model": llm, "stream": number % 5 < 2, "messages": [{"role": "user", "content": str(number)}]}
    await up.chat(sent)


async def _settled(db: Connection) -> bool:
    found: int = await db.fetchval("SELECT count(*) FROM usage_events")
    return found >= 240


async def correct(up: RunningGateway, db: Connection) -> None:
    """What re-rating, refunds and goodwill leave, by hand: this judges them and does not use them."""
    workspace = await db.fetchval("SELECT id FROM workspaces")
    rows = await db.fetch(
        "SELECT e.*, b.id AS entry FROM usage_events e JOIN billing_events b USING (attempt_id)"
        " WHERE b.kind = 'usage' AND e.pricing = 'priced' AND cardinality(e.units) > 1 ORDER BY attempt_id LIMIT 3"
    )
    for place, row in enumerate(rows):
        await _halve(db, row, times=place + 1)
    last = rows[-1]
    await _enter(db, workspace, last["attempt_id"], "refund", -1, last["entry"], last["occurred_at"])
    await db.execute(
        "INSERT INTO billing_events (id, workspace_id, kind, amount_pusd, reason, occurred_at)"
        " VALUES (gen_random_uuid(), $1, 'credit', -5000, 'goodwill', now())",
        workspace,
    )


async def _halve(db: Connection, row: Any, times: int) -> None:
    """Corrections that each take the last line away, down to one; rollups and the ledger follow."""
    before = {name: row[name] for name in ("units", "line_list_pusd", "line_charge_pusd", "quantities")}
    charged = row["charge_pusd"]
    for number in range(1, min(times, len(row["units"]) - 1) + 1):
        keep = len(row["units"]) - number
        await db.execute(
            "INSERT INTO usage_corrections (workspace_id, attempt_id, number, occurred_at, row_recorded_at, service_tier,"
            " input_tokens, cached_tokens, output_tokens, reasoning_tokens, usage_inconsistent, units, quantities,"
            " price_item_ids, line_list_pusd, line_charge_pusd, list_pusd, charge_pusd, charge_kind, charge_bps,"
            " charge_reason, pricing, reason, actor_kind, actor_id)"
            " SELECT workspace_id, attempt_id, $2, occurred_at, recorded_at, service_tier, 0, 0, 0, reasoning_tokens,"
            " usage_inconsistent, units[:$3], quantities[:$3], price_item_ids[:$3], line_list_pusd[:$3],"
            " line_charge_pusd[:$3], (SELECT sum(x) FROM unnest(line_list_pusd[:$3]) x),"
            " (SELECT sum(x) FROM unnest(line_charge_pusd[:$3]) x), charge_kind, charge_bps, charge_reason, pricing,"
            " 'rerated', 'system', '00000000-0000-0000-0000-000000000000' FROM usage_events WHERE attempt_id = $1",
            row["attempt_id"], number, keep,
        )  # fmt: skip
        for table, part, cast in (
            ("usage_hourly", "hour", "date_trunc('hour', $2::timestamptz, 'UTC')"),
            ("usage_daily", "day", "($2::timestamptz AT TIME ZONE 'UTC')::date"),
        ):
            await db.execute(
                f"UPDATE {table} SET quantity = quantity - $3, list_pusd = list_pusd - $4, charge_pusd = charge_pusd - $5"
                f" WHERE unit = $1 AND {part} = {cast} AND llm = $6 AND service_tier = $7 AND provider = $8",
                before["units"][keep], row["occurred_at"], before["quantities"][keep], before["line_list_pusd"][keep],
                before["line_charge_pusd"][keep], row["llm"], row["service_tier"], row["provider"],
            )  # fmt: skip
        now = sum(before["line_charge_pusd"][:keep])
        if now != charged:
            await _enter(db, row["workspace_id"], row["attempt_id"], "adjustment", now - charged, row["entry"], row["occurred_at"])
        charged = now


async def _enter(
    db: Connection, workspace: UUID, attempt: UUID, kind: str, pusd: int, corrects: UUID, at: Any
) -> None:
    await db.execute(
        "INSERT INTO billing_events (id, workspace_id, attempt_id, kind, amount_pusd, corrects, reason, occurred_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, 'by hand', $7)",
        uuid7(1_900_000_000_000), workspace, attempt, kind, pusd, corrects, at,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ledger_url(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Made once: tests change it only inside transactions that they roll back."""
    folder = tmp_path_factory.mktemp("ledger")
    run_now(execute(stores.database_url, f"CREATE DATABASE checked TEMPLATE {TEMPLATE} STRATEGY file_copy"))
    run_now(_empty(stores.redis_url))
    dsn = stores.postgres.dsn_of("checked")
    run_now(populate(dsn, stores.redis_url, folder, correct))
    yield dsn
    run_now(execute(stores.database_url, "DROP DATABASE checked WITH (FORCE)"))


async def _empty(redis_url: str) -> None:
    async with open_redis(redis_url) as redis:
        await redis.flushall()
