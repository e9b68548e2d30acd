"""Files out of a ledger that a real gateway wrote: its sums, one snapshot, nothing left behind on the connection."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, get_args
from uuid import uuid4

import pytest

from pricing.money import format_usd, parse_usd
from proxy.exports import store
from proxy.exports.filter import Filter
from proxy.exports.manifest import Plan
from proxy.exports.pieces import pieces
from proxy.exports.registry import FORMATS, KINDS, FormatName, KindName
from proxy.storage.postgres import Pool, open_pool
from proxy.telemetry.clock import Clock
from tests.populated import ledger_url

__all__ = ["ledger_url"]
ANYTHING = Filter(workspace_id=None)


@pytest.fixture
async def one(ledger_url: str) -> AsyncIterator[Pool]:
    """A pool of one connection: what an export leaves there, the next one finds."""
    pool = await open_pool(ledger_url, max_size=1, application_name="tests")
    yield pool
    await pool.close()


async def planned(pool: Pool, kind: KindName, format: FormatName = "csv", *, gzip: bool = False) -> Plan:
    plan = Plan(uuid4(), kind, format, gzip, ANYTHING, Clock().now())
    async with pool.acquire() as db:
        await store.insert(
            db, id=plan.id, workspace_id=None, actor_kind="system", actor_id=plan.id, kind=kind, created_at=plan.created_at
        )
    return plan


async def manifest_of(pool: Pool, plan: Plan) -> Any:
    async with pool.acquire() as db:
        row = await store.get(db, plan.id, workspace_id=None)
    assert row is not None
    return None if row.manifest is None else json.loads(row.manifest)


async def taken(pool: Pool, plan: Plan) -> bytes:
    return b"".join([piece async for piece in pieces(pool, Clock(), plan)])


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_there_is_a_kind_for_every_name() -> None:
    assert set(KINDS) == set(get_args(KindName)) and set(FORMATS) == set(get_args(FormatName))


async def test_sums_are_the_ledgers(one: Pool) -> None:
    """Recounted from the files themselves, by hand, against the tables."""
    ledger = await one.fetchval("SELECT sum(amount_pusd)::bigint FROM billing_events")
    days = await one.fetchrow("SELECT sum(list_pusd)::bigint, sum(charge_pusd)::bigint FROM usage_daily")
    entries, events, sums = [
        (await taken(one, plan), await manifest_of(one, plan))
        for plan in [await planned(one, kind) for kind in ("billing-events", "usage-events", "daily")]  # type: ignore[arg-type]
    ]
    assert sum(parse_usd(row["amount_usd"]) for row in rows_of(entries[0])) == ledger
    assert entries[1]["sums"] == {"amount_usd": format_usd(ledger)}
    for content, manifest in (events, sums):
        for place, name in enumerate(("list_cost_usd", "charge_usd")):
            assert sum(parse_usd(row[name]) for row in rows_of(content)) == days[place]
            assert manifest["sums"][name] == format_usd(days[place])
    corrected = [row for row in rows_of(events[0]) if row["correction"] != "0"]
    assert len(corrected) == 3
    for row in rows_of(events[0]):
        lines = json.loads(row["lines"])
        assert sum(parse_usd(line["charge_usd"]) for line in lines) == parse_usd(row["charge_usd"])


@pytest.mark.parametrize("kind", get_args(KindName))
@pytest.mark.parametrize("format", get_args(FormatName))
async def test_the_manifest_proves_the_file(one: Pool, kind: KindName, format: FormatName) -> None:
    for packed in (False, True):
        plan = await planned(one, kind, format, gzip=packed)
        content = await taken(one, plan)
        manifest = await manifest_of(one, plan)
        assert manifest["sha256"] == hashlib.sha256(content).hexdigest() and manifest["bytes"] == len(content)
        plain = gzip.decompress(content) if packed else content
        rows: list[Any] = rows_of(plain) if format == "csv" else [json.loads(line) for line in plain.splitlines()]
        assert manifest["rows"] == len(rows) > 0
        assert [column["name"] for column in manifest["columns"]] == list(rows[0])


async def test_left_half_way_there_is_no_manifest(one: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_FETCH", "FETCH FORWARD 10 FROM export")
    monkeypatch.setattr(store, "BATCH_ROWS", 10)
    plan = await planned(one, "usage-events")
    async with aclosing(pieces(one, Clock(), plan)) as given:
        await anext(given)
        await anext(given)
    assert await manifest_of(one, plan) is None
    plan = await planned(one, "usage-events")
    assert len(rows_of(await taken(one, plan))) == (await manifest_of(one, plan))["rows"]


async def test_the_manifest_is_there_before_the_end_is_told(one: Pool) -> None:
    plan = await planned(one, "daily")
    given = pieces(one, Clock(), plan)
    count = 0
    while await anext(given, None):
        count += 1
    assert count and (await manifest_of(one, plan))["rows"] > 0


async def test_nothing_stays_on_the_connection(one: Pool) -> None:
    """pgbouncer lends a server connection to the next client after each transaction: no statement, no cursor may stay."""
    for _ in range(2):
        for kind in get_args(KindName):
            await taken(one, await planned(one, kind))
            left = await one.fetch("SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors")
            assert {row["name"] for row in left} <= {""}  # this query's own
            assert await one.fetchval("SHOW statement_timeout") == "0"


async def test_one_snapshot(one: Pool, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while a file is made is not in it, though it lies on a day that is still to be read."""
    monkeypatch.setattr(store, "_FETCH", "FETCH FORWARD 10 FROM export")
    monkeypatch.setattr(store, "BATCH_ROWS", 10)
    before = await one.fetchval("SELECT count(*) FROM usage_events")
    plan = await planned(one, "usage-events")
    other = await open_pool(ledger_url, max_size=1, application_name="tests")
    try:
        async with aclosing(pieces(one, Clock(), plan)) as given:
            content = await anext(given)
            await other.execute(
                "INSERT INTO usage_events SELECT (jsonb_populate_record(e, jsonb_build_object('attempt_id', gen_random_uuid(),"
                " 'occurred_at', e.occurred_at + interval '1 day'))).* FROM usage_events e LIMIT 1"
            )
            async for piece in given:
                content += piece
        assert len(rows_of(content)) == before == await other.fetchval("SELECT count(*) FROM usage_events") - 1
    finally:
        await other.execute("DELETE FROM usage_events WHERE occurred_at > now() + interval '1 hour'")
        await other.close()
