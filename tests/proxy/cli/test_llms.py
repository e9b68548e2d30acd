"""`synapscale llms` (`models`) and `providers` against the real management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.cli.llms import usd_per

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("command", ["llms", "models"])
async def test_list_shows_dollars_per_million(cli: Cli, command: str) -> None:
    assert (await cli(command, "list")).out == "synapscale/echo\tsynapscale\t128000\t16384\t1.00\t\t2.00\n"
    (row,) = (await cli(command, "list", "--json")).json
    assert row["routes"][0]["prices"][0]["usd"] == "0.000001"  # as the API has it: exact


async def test_show(cli: Cli) -> None:
    ran = await cli("llms", "show", "synapscale/echo")
    assert "synapscale\techo\tinput\tstandard\t\t1.00\tmillion\tconfig\n" in ran.out
    ran = await cli("llms", "show", "nope")
    assert ran.code == 2 and ran.err == "Error: No 'nope' among llms.\nTry:   synapscale llms list\n"


@pytest.mark.parametrize(
    ("unit", "usd", "per_units", "shown"),
    [
        ("input", "0.00000015", 1, "0.15"), ("input", "0.000000006", 1, "0.006"), ("input", "0.0001", 1, "100.00"),
        ("input", "0.30", 1_000_000, "0.30"), ("web_searches", "0.01", 1, "0.01"), ("web_searches", "10.00", 1000, "0.01"),
        ("input", "0.00", 1, "0.00"),
    ],
)
def test_price(unit: str, usd: str, per_units: int, shown: str) -> None:
    assert usd_per({"unit": unit, "usd": usd, "per_units": per_units}) == shown


async def test_llm_without_a_price(cli: Cli, pool: Any) -> None:
    """No price is not a price of zero."""
    await pool.execute("UPDATE price_versions SET effective_to = now()")
    assert (await cli("llms", "list")).out.split("\t")[4:] == ["unpriced", "", "\n"]
    ran = await cli("llms", "show", "synapscale/echo")
    assert "synapscale\techo\t\t\t\tunpriced\t\t\n" in ran.out and "Add `price`" in ran.err


async def test_other_tiers_on_demand(cli: Cli, pool: Any) -> None:
    await pool.execute(
        "INSERT INTO price_items (id, version_id, unit, service_tier, price_pusd)"
        " SELECT gen_random_uuid(), id, 'input', 'flex', 500000 FROM price_versions"
    )
    ran = await cli("llms", "show", "synapscale/echo")
    assert "flex" not in ran.out and "1 more for batches and other service tiers" in ran.err
    assert "\tinput\tflex\t\t0.50\t" in (await cli("llms", "show", "synapscale/echo", "--tiers")).out


async def test_providers(cli: Cli, pool: Any) -> None:
    await pool.execute(
        "INSERT INTO providers (id, name, dialect, base_url) VALUES (gen_random_uuid(), 'mine', 'openai', 'https://m/v1')"
    )
    lines = (await cli("providers", "list")).out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["mine", "own keys only", "https://m/v1"], ["synapscale", "none needed", "echo://built-in"]
    ]
    assert "KEY\town keys only\n" in (await cli("providers", "show", "mine")).out
    assert (await cli("providers", "show", "mine", "--json")).json["has_global_key"] is False
