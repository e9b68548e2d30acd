"""`synapscale prices` as it is typed, in front of a running gateway: what is set is what the next request costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway import PROVIDER_KEY, RunningGateway, running, settings_of
from tests.upstream.plugin import upstream
from tests.upstream.script import whole
from tests.upstream.server import Upstream

__all__ = ["upstream"]
Cli = Callable[..., Awaitable[Any]]
TODAY = datetime.now(UTC).date()
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ANSWER = orjson.dumps(
    {"id": "c1", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}], "usage": USAGE}
)  # fmt: skip


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningGateway]:
    """gpt-4o-mini has the book's price, `fixed` that of config.yaml, `own` none. Commands ask this gateway."""
    providers = {"openai": {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY}}
    llms = [
        {"name": "gpt-4o-mini", "routes": [{"provider": "openai", "model": "gpt-4o-mini"}]},
        {"name": "fixed", "routes": [{"provider": "openai", "model": "x"}], "price": {"input": "1"}},
        {"name": "own", "routes": [{"provider": "openai", "model": "y"}]},
    ]
    settings = settings_of(tmp_path, database_url, redis_url, providers, llms, server={"shutdown_grace_s": 1.0})
    async with running(settings) as up:
        monkeypatch.setenv("SYNAPSCALE_URL", up.url)
        monkeypatch.setenv("SYNAPSCALE_KEY", up.admin_key)
        yield up


async def cost(gateway: RunningGateway, upstream: Upstream, llm: str) -> str | None:
    upstream.expect(whole(ANSWER))
    response = await gateway.chat({"model": llm, "messages": [{"role": "user", "content": "Hi"}]})
    assert response.status == 200, await response.read()
    return response.headers.get("x-synapscale-cost-usd")


async def test_a_custom_price_is_in_force_at_the_next_request(gateway: RunningGateway, upstream: Upstream, cli: Cli) -> None:
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.00021"  # 1000 × 0.15 + 100 × 0.60 per million
    ran = await cli("prices", "set", "gpt-4o-mini", "--price", "input=2,output=4", "--note", "contract")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("pver_") and "gpt-4o-mini at openai: {input: 2, output: 4}" in ran.err
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.0024"
    row = (await gateway.rows(2))[1]
    shown = (await cli("prices", "show", "gpt-4o-mini", "--json")).json[0]
    assert {line["price_item_id"] for line in row["lines"]} == {item["id"] for item in shown["items"]}
    assert (shown["origin"], shown["source"]) == ("custom", "custom (contract)")
    ran = await cli("prices", "unset", "gpt-4o-mini")
    assert [line.split("\t")[2:4] for line in ran.out.splitlines()] == [["ended", "custom"], ["added", "book"]]
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.00021"


async def test_what_a_price_does_not_name_is_said_or_kept(gateway: RunningGateway, cli: Cli) -> None:
    ran = await cli("prices", "set", "gpt-4o-mini", "--price", "input=2,output=4", "--from", "2099-01-01")
    assert "Without a price now" in ran.err and "cache_read" in ran.err and "--keep" in ran.err
    ran = await cli("prices", "set", "gpt-4o-mini", "--price", "input=3", "--keep")
    assert "Without a price" not in ran.err
    assert "Dropped: {input: 2, output: 4}, from 2099-01-01 (custom)." in ran.err  # what was to come is not lost in silence
    (shown,) = (await cli("prices", "show", "gpt-4o-mini", "--json")).json
    assert (shown["price"]["input"], shown["price"]["output"], shown["price"]["cache_read"]) == ("3", "0.6", "0.075")
    assert "tiers" in shown["price"]


async def test_a_price_for_what_had_none(gateway: RunningGateway, upstream: Upstream, cli: Cli, tmp_path: Path) -> None:
    assert await cost(gateway, upstream, "own") is None
    (tmp_path / "price.yaml").write_text('price:\n  input: "1"\n  output: "2"\n  above:\n    900: {input: "3"}\n')
    ran = await cli("prices", "set", "own", "--file", "price.yaml")
    assert ran.code == 0, ran.err
    assert await cost(gateway, upstream, "own") == "0.0032"
    ran = await cli("prices", "show", "own")
    assert "own at openai (y): custom, custom, from" in ran.err
    assert sorted(line.split("\t")[1:6] for line in ran.out.splitlines()) == [
        ["input", "", "1", "million", ""], ["input", "input above 900", "3", "million", ""],
        ["output", "", "2", "million", ""]]


async def test_a_past_price_says_how_to_correct_what_was_charged(gateway: RunningGateway, cli: Cli) -> None:
    day = TODAY - timedelta(days=3)
    ran = await cli("prices", "set", "gpt-4o-mini", "--price", "input=2,output=4", "--from", str(day), "--to", str(TODAY))
    assert f"synapscale rerate --from {day} --llm gpt-4o-mini --dry-run" in ran.err
    ran = await cli("prices", "history", "gpt-4o-mini")
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert lines[0][0] == "always" and [line[1:4] for line in lines[-3:]] == [
        [str(day), "openai", "book"], [str(TODAY), "openai", "custom"], ["", "openai", "book"]]
    assert lines[-2][5] == "{input: 2, output: 4}"
    for at, origin in ((day - timedelta(days=1), "book"), (day, "custom"), (TODAY, "book")):
        (row,) = (await cli("prices", "show", "gpt-4o-mini", "--at", str(at), "--json")).json
        assert row["origin"] == origin
    ran = await cli("prices", "list", "--at", str(day))
    assert ["gpt-4o-mini", "openai", "custom"] in [line.split("\t")[:3] for line in ran.out.splitlines()]


async def test_list(gateway: RunningGateway, cli: Cli) -> None:
    ran = await cli("prices", "list")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ran.out.splitlines()}
    assert rows["gpt-4o-mini"][:2] == ["openai", "book"] and rows["gpt-4o-mini"][4:7] == ["0.15", "0.075", "0.6"]
    assert rows["fixed"][:2] == ["openai", "config"] and "own" not in rows and "synapscale/echo" in rows
    assert (await cli("prices", "show", "own")).out == ""


async def test_batches_and_hours_are_not_taken_for_the_price(gateway: RunningGateway, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "price.yaml").write_text(
        'input: "1"\noutput: "2"\nbatch: {input: "0.5"}\nhours: {"16:30-00:30": {input: "0.7"}}\nimages: {big: "3"}\n')
    assert (await cli("prices", "set", "own", "--file", "price.yaml")).code == 0
    for command in ("llms", "prices"):
        (line,) = [line for line in (await cli(command, "list")).out.splitlines() if line.startswith("own")]
        assert [float(each) for each in line.split("\t")[-4:] if each] [:2] == [1, 2], line
    ran = await cli("llms", "show", "own")
    assert "standard, 16:30-00:30 UTC\t\t0.70\t" in ran.out and "0.50" not in ran.out and "images/big\tstandard\t\t3.00" in ran.out
    assert "1 more for batches and other service tiers" in ran.err
    ran = await cli("prices", "show", "own")
    assert {tuple(line.split("\t")[1:4]) for line in ran.out.splitlines()} == {
        ("input", "", "1"), ("input", "batch", "0.5"), ("input", "16:30-00:30 UTC", "0.7"), ("output", "", "2"),
        ("images/big", "", "3")}


async def test_config_wins_and_says_so(gateway: RunningGateway, cli: Cli) -> None:
    ran = await cli("prices", "set", "fixed", "--price", "input=2")
    assert ran.code == 1 and "config.yaml names the price of fixed at openai" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set", "gpt-4o-mini"], "--price or by --file"),
        (["set", "gpt-4o-mini", "--price", "input"], "'input' is no price"),
        (["set", "gpt-4o-mini", "--price", "input=2", "--from", "soon"], "'soon' is no moment"),
        (["set", "gpt-4o-mini", "--file", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["show", "gpt-5o"], "No 'gpt-5o' among llms"),
        (["import", "nowhere.json"], "nowhere.json: No such file"),
    ],
)  # fmt: skip
async def test_wrong_usage(gateway: RunningGateway, cli: Cli, arguments: list[str], told: str) -> None:
    ran = await cli("prices", *arguments)
    assert (ran.code, told in ran.err) == (2, True), ran.err


async def test_the_gateways_own_words(gateway: RunningGateway, cli: Cli) -> None:
    ran = await cli("prices", "set", "gpt-4o-mini", "--price", "tokens=2")
    assert ran.code == 1 and "no such unit" in ran.err
    ran = await cli("prices", "unset", "gpt-4o-mini")
    assert ran.code == 1 and "has no custom price then. synapscale prices list shows them." in ran.err


async def test_import_and_diff(gateway: RunningGateway, upstream: Upstream, cli: Cli, tmp_path: Path) -> None:
    entry = {"prices": [{"from": None, "price": {"input": "2", "output": "4"}}]}
    document = book_document({"gpt-4o-mini": entry, "x": entry})
    (tmp_path / "book.json").write_text(json.dumps(document))
    ran = await cli("prices", "diff", "book.json")
    assert ran.code == 1 and [line.split("\t")[:4] for line in ran.out.splitlines()] == [
        ["gpt-4o-mini", "openai", "ended", "book"], ["gpt-4o-mini", "openai", "added", "import"]]
    assert "1 would change, 0 as they are, 1 not in it, 2 of config.yaml" in ran.err
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.00021"
    ran = await cli("prices", "import", "book.json")
    assert ran.code == 0, ran.err
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.0024"
    ran = await cli("prices", "diff", "book.json")
    assert (ran.code, ran.out) == (0, "")
    ran = await cli("prices", "diff")  # back to the book that ships
    assert ran.code == 1


def book_document(models: dict[str, Any]) -> dict[str, Any]:
    return {"source": "genai-prices", "version": "99.0", "sha256": "0" * 64, "providers": {"openai": models}}


async def test_verify(cli: Cli, tmp_path: Path) -> None:
    """Without any gateway."""
    ran = await cli("prices", "verify")
    assert ran.code == 0 and "0 unexplained, 0 stale" in ran.err, ran.err
    told = (await cli("prices", "verify", "--json")).json
    assert told["counts"]["compared"] > 800 and told["second_source"].startswith("litellm ")
    assert len(ran.out.splitlines()) == told["counts"]["explained"] + told["counts"]["corrected"]
    entry = {"litellm_provider": "openai", "input_cost_per_token": 9e-7}
    (tmp_path / "other.json").write_text(json.dumps({"gpt-4o-mini": entry}))
    ran = await cli("prices", "verify", "--file", "other.json")
    assert ran.code == 1 and "unexplained\topenai\tgpt-4o-mini\tinput\t0.15\t0.9\t" in ran.out
    assert (await cli("prices", "verify", "--file", "nowhere.json")).code == 2


async def test_a_repaired_price_and_rerate_correct_what_was_charged(
    gateway: RunningGateway, upstream: Upstream, cli: Cli
) -> None:
    assert await cost(gateway, upstream, "gpt-4o-mini") == "0.00021"
    assert await cost(gateway, upstream, "own") is None
    await gateway.rows(2)
    yesterday = str(TODAY - timedelta(days=1))
    for llm in ("gpt-4o-mini", "own"):
        assert (await cli("prices", "set", llm, "--price", "input=2,output=4", "--from", yesterday)).code == 0
    ran = await cli("rerate", "--from", yesterday)
    assert ran.code == 0, ran.err
    rows = await gateway.rows(2)
    assert [(row["pricing"], row["list_cost_usd"]) for row in rows] == [("priced", "0.0024"), ("priced", "0.0024")]
    owed = (await gateway.api("billing/events?limit=100&order=asc"))["data"]
    assert sorted((entry["kind"], entry["amount_usd"]) for entry in owed) == [
        ("adjustment", "0.00219"), ("usage", "0.00021"), ("usage", "0.0024")]
    assert (await cli("rerate", "--from", yesterday, "--json")).json["changed"] == 0
