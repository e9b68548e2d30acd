"""Files for finance over the management API: rows that the real ledger wrote, read back as a person of finance does."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import json
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from pricing.money import format_usd, parse_usd
from proxy.api import streams
from proxy.api.routes import PREFIX
from proxy.exports import store as exports
from proxy.wire.ids import to_wire
from tests.gateway import until
from tests.proxy.api.conftest import Api, Tenant
from tests.proxy.api.test_usage import Settle, event, settle

__all__ = ["settle"]


class File:
    def __init__(self, response: aiohttp.ClientResponse, content: bytes) -> None:
        self.id = response.headers["x-synapscale-export-id"]
        self.name = response.headers["Content-Disposition"]
        self.type = response.headers["Content-Type"]
        self.content = content

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.content.decode(), newline="")))


async def take(api: Api, path: str, *, key: str | None = None) -> File:
    headers = {"Authorization": f"Bearer {key or api.platform}"}
    async with api.client.get(f"{PREFIX}/exports/{path}", headers=headers) as response:
        content = await response.read()
        assert response.status == 200, content
        return File(response, content)


async def manifest_of(api: Api, file: File, **options: Any) -> Any:
    found = (await api.ok("GET", f"/exports/{file.id}", **options))["manifest"]
    assert found["sha256"] == hashlib.sha256(file.content).hexdigest() and found["bytes"] == len(file.content)
    return found


async def test_usage_events_as_csv(api: Api, acme: Tenant, settle: Settle) -> None:
    first = event(acme, "2026-03-04T05:06:07.890", reasoning_tokens=None, end_user='Ann, "the" one\r\n2nd line')
    second = event(acme, "2026-03-05T00:00:00", line_list_pusd=[1, 2, 3], list_pusd=6)
    await settle(second, first)
    file = await take(api, "usage-events", key=acme.owner)
    assert file.type == "text/csv; charset=utf-8" and file.name.endswith('.csv"')
    assert file.content.startswith(b"id,request_id,attempt_number,occurred_at,created_at,workspace_id,")
    assert file.content.endswith(b"\r\n") and file.content.count(b"\r\n") == 4  # header, two rows, one inside quotes
    early, late = file.rows
    assert early["id"] == to_wire("att", first.attempt_id) and late["id"] == to_wire("att", second.attempt_id)
    assert early == early | {
        "occurred_at": "2026-03-04T05:06:07.890000Z", "workspace_id": acme.ws, "user_id": acme.user_id, "agent_id": "",
        "end_user": 'Ann, "the" one\r\n2nd line', "llm": "gpt-mini", "stream": "false", "input_tokens": "100",
        "cached_tokens": "40", "reasoning_tokens": "", "list_cost_usd": "0.000042", "charge_usd": "0.000042",
        "charge_kind": "usage", "charge_bps": "10000", "correction": "0", "upstream_status": "",
    }  # fmt: skip
    assert json.loads(early["lines"])[1] == {
        "unit": "cache_read", "quantity": 40, "price_item_id": to_wire("price", UUID(int=77)),
        "list_cost_usd": "0.000003", "charge_usd": "0.000003",
    }  # fmt: skip
    assert late["list_cost_usd"] == "0.000000000006"
    found = await manifest_of(api, file, key=acme.owner)
    assert found == found | {
        "id": file.id, "kind": "usage-events", "format": "csv", "gzip": False, "rows": 2,
        "as_of": "2031-01-02T03:04:05.000000Z",
    }  # fmt: skip
    assert found["sums"] == {"list_cost_usd": "0.000042000006", "charge_usd": "0.000084", "amount_usd": None}
    assert [column["name"] for column in found["columns"]] == list(early)
    assert found["filter"]["workspace_id"] == acme.ws and found["filter"]["from"] is None


async def test_jsonl_is_typed_and_nothing_is_neutralised(api: Api, acme: Tenant, settle: Settle) -> None:
    row = event(acme, "2026-03-04T05:06:07", end_user="=1+1", reasoning_tokens=None, upstream_status=200)
    await settle(row)
    file = await take(api, "usage-events?format=jsonl")
    assert file.type == "application/x-ndjson" and file.content.count(b"\n") == 1
    shown = json.loads(file.content)
    assert shown == shown | {
        "end_user": "=1+1", "reasoning_tokens": None, "agent_id": None, "input_tokens": 100, "stream": False,
        "upstream_status": 200, "charge_usd": "0.000042",
    }  # fmt: skip
    assert shown["lines"][0]["quantity"] == 60


async def test_gzip_is_a_file_of_its_own(api: Api, acme: Tenant, settle: Settle) -> None:
    await settle(event(acme, "2026-03-04T05:06:07"))
    plain, packed = await take(api, "usage-events"), await take(api, "usage-events?gzip=true")
    assert packed.type == "application/gzip" and packed.name.endswith('.csv.gz"')
    assert gzip.decompress(packed.content) == plain.content
    assert (await manifest_of(api, packed))["gzip"] is True
    assert packed.content == (await take(api, "usage-events?gzip=true")).content


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
async def test_no_text_of_a_user_is_a_formula(api: Api, acme: Tenant, settle: Settle, text: str) -> None:
    await settle(event(acme, "2026-03-04T05:06:07", end_user=text, error_code=text, service_tier=text))
    file = await take(api, "usage-events")
    (row,) = file.rows
    assert row["end_user"] == row["error_code"] == row["service_tier"] == f"'{text}"
    (row,) = (await take(api, "daily")).rows[:1]
    assert row["service_tier"] == f"'{text}"


async def correct(api: Api, row: Any, number: int, recorded_at: Any, **changes: Any) -> None:
    values: dict[str, Any] = {
        "workspace_id": row.workspace_id, "attempt_id": row.attempt_id, "number": number, "occurred_at": row.occurred_at,
        "row_recorded_at": recorded_at, "service_tier": "flex", "input_tokens": 90, "cached_tokens": 0,
        "output_tokens": 50, "reasoning_tokens": None, "usage_inconsistent": False, "units": ["input", "output"],
        "quantities": [90, 50], "price_item_ids": [UUID(int=77)] * 2, "line_list_pusd": [1, 2],
        "line_charge_pusd": [3, 4], "list_pusd": 3, "charge_pusd": 7, "charge_kind": "usage", "charge_bps": 20_000,
        "charge_reason": "", "pricing": "priced", "reason": "rerated", "actor_kind": "system", "actor_id": UUID(int=0),
    } | changes  # fmt: skip
    marks = ", ".join(f"${place}" for place in range(1, len(values) + 1))
    await api.deployment.run(f"INSERT INTO usage_corrections ({', '.join(values)}) VALUES ({marks})", *values.values())


async def test_the_figures_that_count_now(api: Api, acme: Tenant, settle: Settle) -> None:
    """The newest correction of the row as it is; one of the row as it was before it changed says nothing."""
    await settle(*(event(acme, f"2026-03-04T05:06:0{second}") for second in range(3)))
    rows = await api.deployment.pool.fetch("SELECT * FROM usage_events ORDER BY attempt_id")
    corrected, before, _ = [type("Row", (), dict(row)) for row in rows]
    await correct(api, corrected, 1, corrected.recorded_at, list_pusd=1000, line_list_pusd=[998, 2])
    await correct(api, corrected, 2, corrected.recorded_at)
    await correct(api, before, 1, corrected.occurred_at)
    shown = (await take(api, "usage-events")).rows
    assert [(row["correction"], row["list_cost_usd"], row["charge_usd"]) for row in shown] == [
        ("2", "0.000000000003", "0.000000000007"), ("0", "0.000042", "0.000042"), ("0", "0.000042", "0.000042"),
    ]  # fmt: skip
    assert shown[0] == shown[0] | {
        "service_tier": "flex", "input_tokens": "90", "reasoning_tokens": "", "charge_bps": "20000",
    }  # fmt: skip
    assert [line["unit"] for line in json.loads(shown[0]["lines"])] == ["input", "output"]


async def test_billing_events_add_up_to_the_ledger(api: Api, acme: Tenant, settle: Settle) -> None:
    await settle(event(acme, "2026-03-04T05:06:07"), event(acme, "2026-03-05T05:06:07", llm="other"))
    run = api.deployment.run
    base = await api.deployment.pool.fetchrow("SELECT * FROM billing_events ORDER BY occurred_at LIMIT 1")
    await run(
        "INSERT INTO billing_events (id, workspace_id, attempt_id, kind, amount_pusd, corrects, reason, occurred_at)"
        " VALUES ($1, $2, $3, 'refund', -7, $4, '=HYPERLINK(\"x\")', $5)",
        api.deployment.id(), acme.workspace, base["attempt_id"], base["id"], base["occurred_at"],
    )  # fmt: skip
    await run(
        "INSERT INTO billing_events (id, workspace_id, kind, amount_pusd, reason, occurred_at)"
        " VALUES ($1, $2, 'credit', -11, 'goodwill', '2026-03-06')",
        api.deployment.id(), acme.workspace,
    )  # fmt: skip
    file = await take(api, "billing-events", key=acme.owner)
    assert [row["kind"] for row in file.rows] == ["usage", "usage", "refund", "credit"]
    assert file.rows[2]["reason"].startswith("'=HYPERLINK") and file.rows[2]["amount_usd"] == "-0.000000000007"
    assert file.rows[2]["corrects"] == to_wire("bill", base["id"]) and file.rows[3]["attempt_id"] == ""
    owed = await api.deployment.pool.fetchval("SELECT sum(amount_pusd)::bigint FROM billing_events")
    assert (await manifest_of(api, file))["sums"]["amount_usd"] == format_usd(owed)
    assert sum(parse_usd(row["amount_usd"]) for row in file.rows) == owed
    of_llm = await take(api, "billing-events?llm=gpt-mini&provider=openai&key_source=global")
    assert [row["kind"] for row in of_llm.rows] == ["usage", "refund"]


async def test_usage_events_and_days_have_the_same_sums(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    await settle(
        *(event(tenant, f"2026-03-0{day}T0{day}:00:00", service_tier=tier)
          for tenant in (acme, rival) for day in (1, 2, 3) for tier in ("", "flex")),
    )  # fmt: skip
    for query in ("", "?from=2026-03-02&to=2026-03-03", f"?workspace_id={rival.ws}", "?llm=nothing"):
        events, days = await take(api, f"usage-events{query}"), await take(api, f"daily{query}")
        assert (await manifest_of(api, events))["sums"] == (await manifest_of(api, days))["sums"]
        assert sum(int(row["quantity"]) for row in days.rows if row["unit"] == "requests") == len(events.rows)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 3), ("?workspace_id={ws}", 2), ("?user_id={user}", 2), ("?virtual_key_id={key}", 2), ("?llm=gpt-mini", 2),
        ("?provider=mistral", 1), ("?key_source=user", 1), ("?from=2026-03-05", 1), ("?to=2026-03-05", 2),
        ("?from=2026-03-04T05:06:07Z&to=2026-03-04T05:06:08Z", 1),
    ],
)
async def test_filters(api: Api, acme: Tenant, rival: Tenant, settle: Settle, query: str, count: int) -> None:
    await settle(
        event(acme, "2026-03-04T05:06:07"), event(acme, "2026-03-04T05:06:08", llm="x", provider="mistral"),
        event(rival, "2026-03-05T05:06:07", key_source="user", provider_account="own", line_charge_pusd=[0, 0, 0],
              charge_pusd=0),
    )  # fmt: skip
    query = query.format(ws=acme.ws, user=acme.user_id, key=acme.key_id)
    file = await take(api, f"usage-events{query}")
    assert len(file.rows) == count == (await manifest_of(api, file))["rows"]


async def test_a_tenant_gets_its_own_only(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    await settle(event(acme, "2026-03-04T05:06:07"), event(rival, "2026-03-04T05:06:08"))
    for kind in ("usage-events", "billing-events", "daily"):
        file = await take(api, kind, key=acme.owner)
        assert file.rows and {row["workspace_id"] for row in file.rows} == {acme.ws}
        assert (await api.get(f"/exports/{kind}?workspace_id={rival.ws}", key=acme.owner)).code == "not_found"
        assert (await api.get(f"/exports/{file.id}", key=rival.owner)).code == "not_found"
    assert (await api.ok("GET", "/exports", key=rival.owner))["data"] == []
    listed = (await api.ok("GET", "/exports?kind=daily", key=acme.owner))["data"]
    assert [(row["id"], row["kind"]) for row in listed] == [(file.id, "daily")]


async def test_who_took_what_is_in_the_audit_log(api: Api, acme: Tenant) -> None:
    file = await take(api, "daily?llm=gpt-mini", key=acme.owner)
    (entry,) = (await api.ok("GET", "/audit?resource=export"))["data"]
    assert entry["resource_id"] == file.id and entry["workspace_id"] == acme.ws and entry["verb"] == "read"
    assert entry["detail"] == entry["detail"] | {"kind": "daily", "format": "csv", "llm": "gpt-mini"}


async def test_an_empty_file_is_whole_too(api: Api, acme: Tenant) -> None:
    assert len((await take(api, "usage-events")).content.splitlines()) == 1
    for path in ("usage-events?format=jsonl", "daily?format=jsonl&gzip=true"):
        file = await take(api, path)
        assert (gzip.decompress(file.content) if "gzip" in path else file.content) == b""
        found = await manifest_of(api, file)
        assert found["rows"] == 0 and found["sums"]["charge_usd"] == "0.00"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("daily?from=2026-03-04T05:00:00Z", "from"), ("usage-events?format=xlsx", "format"),
        ("usage-events?outcome=ok", "outcome"), ("usage-events?gzip=perhaps", "gzip"),
    ],
)
async def test_what_cannot_be_asked(api: Api, path: str, param: str) -> None:
    answer = await api.get(f"/exports/{path}")
    assert (answer.status, answer.param) == (400, param)
    assert (await api.ok("GET", "/exports"))["data"] == []


async def test_quantities_beyond_64_bits(api: Api, acme: Tenant, settle: Settle) -> None:
    most = 2**63 - 1
    await settle(*(event(acme, f"2026-03-04T05:06:0{second}", quantities=[most, 0, 0]) for second in range(3)))
    rows = [json.loads(line) for line in (await take(api, "daily?format=jsonl")).content.splitlines()]
    assert 3 * most in [row["quantity"] for row in rows]


# ---- what breaks off


async def many(api: Api, tenant: Tenant, settle: Settle, count: int = 3_000) -> None:
    await settle(*(event(tenant, "2026-03-04T05:06:07", end_user="x" * 900) for _ in range(count)))


async def raw(api: Api, path: str, *, key: str, version: str = "1.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port, limit=1024)
    head = f"GET {PREFIX}/exports/{path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(head.encode())
    return reader, writer


async def test_a_broken_export_never_ends_cleanly(
    api: Api, acme: Tenant, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(api, acme, settle)
    fetched = exports._fetched

    async def breaking(*arguments: Any) -> Any:
        count = 0
        async for rows in fetched(*arguments):
            count += 1
            if count == 3:
                raise ConnectionError("Postgres is gone")
            yield rows

    monkeypatch.setattr(exports, "_fetched", breaking)
    for query in ("", "?gzip=true"):
        with pytest.raises(aiohttp.ClientError):
            await take(api, f"usage-events{query}")
    monkeypatch.undo()
    rows = (await api.ok("GET", "/exports"))["data"]
    assert [(row["manifest"], row["finished_at"]) for row in rows] == [(None, None)] * 2
    assert len((await take(api, "usage-events")).rows) == 3_000  # neither seat nor connection was lost


async def test_away_before_the_first_byte_is_a_refusal(api: Api, acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: Any) -> Any:
        raise ConnectionError("Postgres is gone")
        yield

    monkeypatch.setattr(exports, "_fetched", away)
    assert (await api.get("/exports/daily")).code == "service_unavailable"


async def test_a_client_that_leaves_ends_the_cursor(api: Api, acme: Tenant, settle: Settle) -> None:
    await many(api, acme, settle, 12_000)
    reader, writer = await raw(api, "usage-events", key=api.platform)
    await reader.readexactly(1_000)
    await until(lambda: _waits(api), "it waits for its reader, within its transaction")
    writer.transport.abort()
    await until(lambda: _is_over(api), "the cursor has ended")
    (row,) = (await api.ok("GET", "/exports"))["data"]
    assert row["manifest"] is None and row["finished_at"] is None


async def _reading(api: Api) -> int:
    found: int = await api.deployment.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    return found


async def _waits(api: Api) -> bool:
    """Between two fetches: while one is under way it is active."""
    return await _reading(api) == 1


async def _is_over(api: Api) -> bool:
    return not await _reading(api)


async def test_only_so_many_at_once(api: Api, acme: Tenant, settle: Settle) -> None:
    await many(api, acme, settle, 12_000)
    held = [await raw(api, "usage-events", key=api.platform) for _ in range(streams.MOST_AT_ONCE)]
    for reader, _ in held:
        await reader.readexactly(1_000)
    answer = await api.get("/exports/daily")
    assert answer.code == "overloaded" and answer.headers["retry-after"] == "30"
    for _, writer in held:
        writer.transport.abort()

    async def free() -> bool:
        return (await api.get("/exports/daily")).status == 200

    await until(free, "the seats are free again")


async def test_http_1_0_has_no_way_to_tell_the_end(api: Api) -> None:
    reader, writer = await raw(api, "daily", key=api.platform, version="1.0")
    head = await reader.read(1_000)
    assert b" 400 " in head.splitlines()[0]
    writer.close()


async def test_memory_does_not_grow_with_the_file(api: Api, acme: Tenant, settle: Settle) -> None:
    """Batches are read as they are taken: a reader that has taken little has let little be read."""
    await many(api, acme, settle, 12_000)
    reads = 0
    fetched = exports._fetched

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        async for rows in fetched(*arguments):
            reads += 1
            assert len(rows) <= exports.BATCH_ROWS
            yield rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "_fetched", counted)
        reader, writer = await raw(api, "usage-events", key=api.platform)
        await reader.readexactly(1_000)
        await asyncio.sleep(0.5)
        assert reads < 12_000 / exports.BATCH_ROWS
        writer.transport.abort()

