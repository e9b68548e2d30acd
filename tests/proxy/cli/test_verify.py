"""`synapscale verify` as an operator runs it; what it finds is tested in tests/proxy/ledger/check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.ledger.check.verify import CHECKS
from proxy.storage.postgres import Pool
from tests.proxy.cli.test_requests import write

__all__ = ["write"]
Cli = Callable[..., Awaitable[Any]]
Write = Callable[..., Awaitable[UUID]]


@pytest.fixture(autouse=True)
def of_this_database(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    monkeypatch.setenv("DATABASE_URL", database_url)


@pytest.mark.usefixtures("started")
async def test_a_new_ledger_agrees(cli: Cli) -> None:
    ran = await cli("verify")
    assert ran.code == 0 and ran.err == "The ledger agrees with itself.\n", ran.err
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [line[0] for line in lines] == [check.name for check in CHECKS] and {line[2] for line in lines} == {"0"}


@pytest.mark.usefixtures("started")
async def test_a_difference_is_named_and_exits_1(cli: Cli, write: Write, pool: Pool) -> None:
    unpriced = {"line_list_pusd": [0, 0], "line_charge_pusd": [0, 0], "list_pusd": 0, "charge_pusd": 0}
    attempt = await write(pricing="unpriced", **unpriced)
    ran = await cli("verify")
    assert ran.code == 0, ran.out
    await pool.execute("UPDATE usage_events SET list_pusd = 7")
    ran = await cli("verify")
    assert ran.code == 1 and "1 differences" in ran.err
    assert ran.out.splitlines()[-1].split("\t") == ["lines_add_up", str(attempt), "list 7, lines 0; charge 0, lines 0"]
    ran = await cli("verify", "--json")
    assert ran.code == 1 and ran.json["differences"] == 1
    assert ran.json["examples"][0]["check"] == "lines_add_up"
    assert {row["check"]: row["looked_at"] for row in ran.json["checks"]}["lines_add_up"] == 1


@pytest.mark.usefixtures("started")
async def test_only_some_days(cli: Cli, write: Write, pool: Pool) -> None:
    await write(pricing="unpriced", line_list_pusd=[0, 0], line_charge_pusd=[0, 0], list_pusd=0, charge_pusd=0)
    await pool.execute("UPDATE usage_daily SET quantity = quantity + 1")
    day = (await pool.fetchval("SELECT min(day) FROM usage_daily")).isoformat()
    assert (await cli("verify", "--from", day, "--to", day)).code == 1
    assert (await cli("verify", "--to", "2020-12-31")).code == 0
    assert (await cli("verify", "--from", "2098-01-01")).code == 0
    assert (await cli("verify", "--from", "tomorrow")).code == 2


async def test_without_a_schema_or_a_database(
    cli: Cli, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    ran = await cli("verify")
    assert ran.code == 1 and "synapscale migrate" in ran.err
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@127.0.0.1:9/x")
    ran = await cli("verify")
    assert ran.code == 1 and "Postgres cannot be used" in ran.err
