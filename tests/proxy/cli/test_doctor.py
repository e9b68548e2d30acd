"""`synapscale doctor` as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Awaitable[Any]]


@pytest.mark.usefixtures("started")
async def test_all_is_well(
    cli: Cli, api: str, database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    ran = await cli("doctor")
    assert ran.code == 0, ran.out
    lines = ran.out.splitlines()
    assert {line[0] for line in lines} == {"✓", "!", " "} and any("→" in line for line in lines)
    assert {row["state"] for row in (await cli("doctor", "--json")).json} == {"ok", "warn"}


async def test_nothing_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 1}")
    ran = await cli("doctor", "--url", "http://127.0.0.1:9", "--json")
    assert ran.code == 1
    bad = {row["check"]: row for row in ran.json if row["state"] == "bad"}
    assert set(bad) == {"configuration", "gateway", "Postgres", "Redis"}
    assert "config.yaml:1: server.prot" in bad["configuration"]["found"]
    assert all(row["fix"] for row in bad.values())
