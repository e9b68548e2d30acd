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


async def test_closed_folder_is_told_as_such(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("")
    monkeypatch.setattr("proxy.cli.doctor.unreadable", lambda folder: True)
    rows = {row["check"]: row for row in (await cli("doctor", "--json")).json}
    assert ".synapscale is not readable" in rows["Postgres"]["found"]


@pytest.mark.usefixtures("started")
async def test_keys_are_those_of_the_gateway(cli: Cli, api: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    rows = {row["check"]: row for row in (await cli("doctor", "--data-dir", ".synapscale", "--json")).json}
    assert rows["gateway's keys"]["state"] == "warn" and "no provider's key" in rows["gateway's keys"]["found"]
    assert "this shell's environment" in rows["provider keys"]["found"]
    (tmp_path / ".synapscale/admin-key").unlink()
    rows = {row["check"]: row for row in (await cli("doctor", "--data-dir", ".synapscale", "--json")).json}
    assert "not looked at" in rows["gateway's keys"]["found"]


async def test_nothing_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 1}")
    ran = await cli("doctor", "--url", "http://127.0.0.1:9", "--json")
    assert ran.code == 1
    bad = {row["check"]: row for row in ran.json if row["state"] == "bad"}
    assert set(bad) == {"configuration", "gateway", "Postgres", "Redis"}
    assert "config.yaml:1: server.prot" in bad["configuration"]["found"]
    assert all(row["fix"] for row in bad.values())
