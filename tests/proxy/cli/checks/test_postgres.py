"""Postgres as `doctor` sees it, on a real one that is wrong in turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.cli.checks.finding import Finding
from proxy.cli.checks.postgres import lag, postgres, version
from proxy.cli.prepare import prepare
from proxy.settings.tree import Settings
from proxy.storage.postgres import Pool
from proxy.vault.master import MasterKey


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in found}


@pytest.fixture
async def prepared(database_url: str, tmp_path: Path) -> str:
    settings = Settings(stores={"data_dir": tmp_path, "database_url": database_url})  # type: ignore[arg-type]
    await prepare(settings, database_url, MasterKey(bytes(32)))
    return database_url


async def test_all_is_well(prepared: str) -> None:
    found = await postgres(prepared)
    assert {finding.state for finding in found} == {"ok"}
    assert [finding.check for finding in found] == [
        "Postgres", "clock", "schema", "partitions", "ledger", "dead letters", "unpriced attempts"
    ]


async def test_schema_that_is_behind(empty_database_url: str) -> None:
    found = by_name(await postgres(empty_database_url))
    assert found["schema"].state == "bad" and "0001_first_light" in found["schema"].found
    assert "synapscale migrate" in str(found["schema"].fix)


async def test_partitions_that_end_tomorrow(prepared: str, pool: Pool) -> None:
    for ahead in range(2, 9):
        await pool.execute(f"DROP TABLE IF EXISTS usage_events_{datetime.now(UTC) + timedelta(days=ahead):%Y%m%d}")
    finding = by_name(await postgres(prepared))["partitions"]
    assert finding.state == "bad" and finding.found == "1 days ahead"


async def test_dead_letters(prepared: str, pool: Pool) -> None:
    await pool.execute("INSERT INTO dead_letters (shard, entry_id, payload, error) VALUES (0, '1-0', '', 'x')")
    assert by_name(await postgres(prepared))["dead letters"].state == "bad"


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:9/x", "no dsn", "postgresql://h:port/x"])
async def test_no_server(dsn: str) -> None:
    (finding,) = await postgres(dsn)
    assert finding.state == "bad" and "DATABASE_URL" in str(finding.fix)


async def test_no_such_database(database_url: str) -> None:
    (finding,) = await postgres(database_url.replace("/test_", "/missing_"))
    assert finding.state == "bad" and "missing_" in finding.found


@pytest.mark.parametrize(("number", "state"), [(140_011, "bad"), (150_000, "ok"), (180_006, "ok")])
def test_version_floor(number: int, state: str) -> None:
    assert version(number).state == state


@pytest.mark.parametrize(("behind_s", "state"), [(0, "ok"), (59, "ok"), (60, "warn"), (899, "warn"), (900, "bad")])
def test_lag(behind_s: int, state: str) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert lag(now - timedelta(seconds=behind_s), now).state == state
    assert lag(None, now).state == "ok"
