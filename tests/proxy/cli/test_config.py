"""`synapscale config`: nothing runs, nothing is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Awaitable[Any]]
TEXT = 'server: {port: 5000}\nproviders:\n  a: {dialect: openai, base_url: "https://a/v1", api_key: "${A_KEY}"}\n'


@pytest.fixture(autouse=True)
def file(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("A_KEY", "sk-canary")
    path = Path("config.yaml")
    path.write_text(TEXT)
    return path


async def test_nothing_is_wrong(cli: Cli) -> None:
    ran = await cli("config", "validate")
    assert (ran.code, ran.out, ran.err) == (0, "", "Nothing is wrong. Providers: 1, llms: 0.\n")
    assert (await cli("config", "validate", "--json")).json == {"valid": True, "problems": []}


@pytest.fixture
def mistakes(file: Path) -> None:
    file.write_text("server: {prot: 1, workers: 0}")


@pytest.mark.usefixtures("mistakes")
async def test_mistakes(cli: Cli) -> None:
    ran = await cli("config", "validate")
    assert ran.code == 2 and "config.yaml:1: server.prot" in ran.err and "server.workers" in ran.err
    ran = await cli("config", "validate", "--json")
    assert ran.code == 2 and ran.json["valid"] is False and len(ran.json["problems"]) == 2
    ran = await cli("config", "validate", "--config", "nowhere.yaml")
    assert ran.code == 2 and "nowhere.yaml is not there" in ran.err


async def test_show(cli: Cli) -> None:
    assert (await cli("config", "show", "server.port")).out == "server.port\t5000\n"
    assert (await cli("config", "show", "server.port", "--source")).out == "server.port\t5000\tconfig.yaml:1\n"
    ran = await cli("config", "show", "providers.a", "--json")
    key = {row["setting"]: row for row in ran.json}["providers.a.api_key"]
    assert key == {
        "setting": "providers.a.api_key", "value": "set, not shown", "source": "config.yaml:3: ${A_KEY}", "secret": True
    }
    everything = await cli("config", "show", "--source")
    assert "canary" not in everything.out and "stores.database_url\tunset\tdefault\n" in everything.out
    assert (await cli("config", "show", "serv")).code == 2  # no part of a name


async def test_docs(cli: Cli) -> None:
    ran = await cli("config", "docs", "server.port")
    assert ran.out == "server.port\t4000\tPort to listen on; 0 takes a free one. (≥ 0, ≤ 65535)\n"
    rows = {row["setting"]: row for row in (await cli("config", "docs", "--json")).json}
    assert {"master_key", "providers.NAME.base_url", "llms[].routes[].model"} <= set(rows)
    assert (await cli("config", "docs", "nope")).code == 2
