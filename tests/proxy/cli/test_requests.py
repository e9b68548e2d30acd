"""`synapscale requests` and `usage` over rows that the real ledger wrote."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from proxy.ledger import store as ledger
from proxy.ledger.entry import Row
from proxy.settlement.usage_event import UsageEvent
from proxy.storage.postgres import Pool
from proxy.wire.ids import moment_of, to_wire, uuid7

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]
Write = Callable[..., Awaitable[UUID]]
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
def write(pool: Pool) -> Write:
    """One settled attempt straight into the ledger's tables; its id."""

    async def write_one(age: timedelta = timedelta(), **changes: Any) -> UUID:
        owner = await pool.fetchrow("SELECT id, workspace_id, user_id FROM virtual_keys")
        now_ms = NOW_MS - round(age.total_seconds() * 1000)
        event = UsageEvent(**{  # type: ignore[arg-type]
            "attempt_id": uuid7(now_ms), "request_id": uuid7(now_ms), "workspace_id": owner["workspace_id"],
            "user_id": owner["user_id"], "virtual_key_id": owner["id"], "llm": "gpt-4o-mini", "provider": "openai",
            "upstream_model": "gpt-4o-mini", "surface": "chat", "key_source": "global", "provider_account": "ours",
            "usage_source": "provider", "outcome": "ok", "input_tokens": 12, "output_tokens": 3, "latency_ms": 812,
            "units": ["input", "output"], "quantities": [12, 3], "price_item_ids": [None, None],
            "line_list_pusd": [1_800_000, 1_800_000], "line_charge_pusd": [1_800_000, 1_800_000],
            "list_pusd": 3_600_000, "charge_pusd": 3_600_000, **changes,
        })
        async with ledger.connection(pool) as conn, ledger.transaction(conn):
            await ledger.apply(conn, [Row(b"1-0", event, moment_of(event.attempt_id))], now_ms=NOW_MS)
            await ledger.advance(conn, 0, b"1-0", datetime(2026, 11, 24, tzinfo=UTC))
        return event.attempt_id

    return write_one


async def test_list_newest_first_with_exact_money(cli: Cli, write: Write) -> None:
    old, new = await write(timedelta(seconds=5)), await write(service_tier="flex")
    lines = [line.split("\t") for line in (await cli("requests", "list")).out.splitlines()]
    assert [cells[0] for cells in lines] == [to_wire("att", new), to_wire("att", old)]
    assert lines[0][2:10] == ["gpt-4o-mini", "openai", "global", "12", "0", "3", "0.0000036", "ok"]
    (row,) = (await cli("requests", "list", "--limit", "1", "--json")).json
    assert row["list_cost_usd"] == "0.0000036"


async def test_unknown_price_is_not_shown_as_zero(cli: Cli, write: Write) -> None:
    await write(pricing="unpriced", list_pusd=0, charge_pusd=0, line_list_pusd=[0, 0], line_charge_pusd=[0, 0])
    cells = (await cli("requests", "list")).out.split("\t")
    assert cells[8] == "unpriced"
    shown = (await cli("requests", "show", cells[0])).out
    assert "LIST COST USD\tno price" in shown and "input\t12\tno price\tno price" in shown and "0.00" not in shown


async def test_own_key_is_charged_nothing_also_without_a_price(cli: Cli, write: Write) -> None:
    nothing = {"list_pusd": 0, "charge_pusd": 0, "line_list_pusd": [0, 0], "line_charge_pusd": [0, 0]}
    event = await write(pricing="unpriced", key_source="user", provider_account="own", charge_kind="none", charge_bps=0,
                        charge_reason="own_key", **nothing)
    shown = (await cli("requests", "show", to_wire("att", event))).out
    assert "input\t12\tno price\t0.00" in shown and "CHARGE USD\t0.00" in shown
    assert "CHARGED\tnothing (own_key)" in shown


async def test_only_unpriced_ones(cli: Cli, write: Write) -> None:
    await write()
    event = await write(pricing="unpriced")
    assert [row["id"] for row in (await cli("requests", "list", "--unpriced", "--json")).json] == [to_wire("att", event)]


@pytest.mark.parametrize(
    ("width", "seen"),
    [
        (80, ["LIST", "OUTCOME"]), (100, ["LIST", "OUTCOME", "TIME", "IN"]),
        (200, ["LIST", "OUTCOME", "TIME", "IN", "CACHED"]),
    ],
)
async def test_table_keeps_ids_whole_on_any_terminal(
    cli: Cli, write: Write, monkeypatch: pytest.MonkeyPatch, width: int, seen: list[str]
) -> None:
    event = await write()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    lines = re.sub("\x1b\\[[0-9;]*m", "", (await cli("requests", "list")).out).splitlines()
    assert lines[-1].startswith(to_wire("att", event)) and len(lines) == 3  # head, rule, one row on one line
    assert "0.0000036" in lines[-1] and max(map(len, lines)) <= width
    assert [name for name in ("LIST", "OUTCOME", "TIME", "IN", "CACHED") if name in lines[0].split()] == seen


async def test_workspace_is_shown_where_there_are_several(cli: Cli, write: Write, pool: Pool) -> None:
    await write()
    assert "default" not in (await cli("requests", "list")).out
    await cli("workspaces", "create", "second")
    second = await pool.fetchval("SELECT id FROM workspaces WHERE name = 'second'")
    await write(workspace_id=second)
    lines = [line.split("\t") for line in (await cli("requests", "list")).out.splitlines()]
    assert {cells[-1] for cells in lines} == {"default", "second"}


async def test_numbers_that_are_not_the_providers_say_so(cli: Cli, write: Write) -> None:
    await write(usage_source="estimated", outcome="client_abort")
    assert (await cli("requests", "list")).out.split("\t")[9] == "client_abort (estimated)"


async def test_filter_by_llm(cli: Cli, write: Write) -> None:
    await write()
    assert (await cli("requests", "list", "--llm", "other", "--json")).json == []
    assert len((await cli("requests", "list", "--llm", "gpt-4o-mini", "--json")).json) == 1


async def test_show_by_attempt_and_by_request(cli: Cli, write: Write) -> None:
    request_id = uuid7(NOW_MS)
    first = await write(
        request_id=request_id, outcome="upstream_error", upstream_status=429, error_code="upstream_error",
        upstream_request_id="up-1",
    )
    await write(request_id=request_id, attempt_number=2)
    shown = (await cli("requests", "show", to_wire("att", first))).out
    for line in ("UPSTREAM STATUS\t429", "ERROR CODE\tupstream_error", "UPSTREAM REQUEST\tup-1"):
        assert line in shown
    assert "LIST COST USD\t0.0000036" in shown and "input\t12\t0.0000018\t0.0000018" in shown
    attempts = (await cli("requests", "show", to_wire("req", request_id), "--json")).json
    assert [row["attempt_number"] for row in attempts] == [1, 2]


async def test_show_of_nothing(cli: Cli) -> None:
    ran = await cli("requests", "show", "att_" + "0" * 32)
    assert ran.code == 1 and "Request req_" in ran.err
    for options in ((), ("--json",)):
        ran = await cli("requests", "show", "req_" + "0" * 32, *options)
        assert ran.code == 1 and "never recorded" in ran.err and ran.out == ""


async def test_tail_prints_what_arrives_also_what_began_long_ago(api: str, write: Write, tmp_path: Any) -> None:
    """A long attempt has an older id than many that ended before it."""
    await write()
    tail = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "requests", "tail", "--json", "--every", "0.2", "--url", api,
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert tail.stdout is not None
        # Rows that come before its first look are history to it: write until one is told.
        told: list[str] = []

        async def read() -> None:
            assert tail.stdout is not None
            told.append(json.loads(await tail.stdout.readline())["id"])

        reading = asyncio.create_task(read())
        written = []
        while not reading.done():
            written.append(to_wire("att", await write(timedelta(hours=1))))
            await asyncio.wait([reading], timeout=0.3)
        assert told[0] in written
    finally:
        tail.terminate()
        await tail.wait()


async def test_usage_sums_by_llm(cli: Cli, write: Write) -> None:
    for _ in range(3):
        await write()
    await write(llm="other", pricing="unpriced")
    ran = await cli("usage")
    lines = {cells[0]: cells for cells in (line.split("\t") for line in ran.out.splitlines())}
    assert lines["gpt-4o-mini"] == ["gpt-4o-mini", "3", "0", "36", "0", "9", "0", "0.0000108", "0.0000108", "0"]
    assert lines["other"][-1] == "1" and "1 without a known price" in ran.err and "--unpriced" in ran.err
    assert set(lines) == {"gpt-4o-mini", "other"}  # the total is for people and for --json
    assert "Complete up to 2026-11-24T00:00:00Z." in ran.err
    assert (await cli("usage", "--json")).json["total"]["requests"] == 4


async def test_usage_by_several_and_in_a_time(cli: Cli, write: Write) -> None:
    await write()
    ran = await cli("usage", "--by", "provider,key_source", "--from", "today", "--to", "2099-01-01")
    assert ran.out.split("\t")[:3] == ["openai", "global", "1"]
    assert (await cli("usage", "--from", "2020-01-01", "--to", "2020-01-02")).out == ""
    assert (await cli("usage", "--from", "yesterday")).code == 2
    assert (await cli("usage", "--by", "colour")).code == 1


async def test_unpriced_has_a_column_only_where_there_are_some(
    cli: Cli, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    ran = await cli("usage")
    assert "UNPRICED" not in ran.out and "known price" not in ran.err
    await write(pricing="unpriced")
    assert "UNPRICED" in (await cli("usage")).out
