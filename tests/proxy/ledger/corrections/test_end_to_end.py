"""An llm without a price, as an operator meets it: a row that says so, an alert, a price, a re-rate, a ledger that agrees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from proxy.cli.main import run
from proxy.ledger.check.verify import verify
from proxy.storage.postgres import Pool
from proxy.telemetry.metrics import Metrics
from proxy.worker.alerts import AlertsLoop
from tests.gateway import PRICE, RunningGateway, one_provider, running, settings_of, until
from tests.upstream.plugin import upstream as upstream
from tests.upstream.script import whole
from tests.upstream.server import Upstream

ANSWER = json.dumps({
    "id": "c", "object": "chat.completion", "model": "upstream-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35, "prompt_tokens_details": {"cached_tokens": 10}},
}).encode()  # fmt: skip
PUSD = {"input": 2_000_000, "cache_read": 200_000, "output": 8_000_000}
COST = "0.000082"  # 20 × 2 + 10 × 0.2 + 5 × 8 millionths


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Operator:
    """With a shell on the gateway's machine, and on its database."""

    def __init__(self, up: RunningGateway, pool: Pool, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.up, self.pool, self._capsys = up, pool, capsys
        self._key_file = folder / "operator-key"
        self._key_file.write_text(up.admin_key)

    async def types(self, *words: str, code: int = 0) -> Ran:
        self._capsys.readouterr()
        found = await asyncio.to_thread(run, [*words, "--url", self.up.url, "--key-file", str(self._key_file)])
        ran = Ran(found, *self._capsys.readouterr())
        assert ran.code == code, ran
        return ran

    async def json(self, *words: str) -> Any:
        return json.loads((await self.types(*words, "--json")).out)

    async def asks(self, llm: str) -> None:
        answer = await self.up.chat({"model": llm, "messages": [{"role": "user", "content": "hi"}]})
        assert answer.status == 200, await answer.text()

    async def look_for_alerts(self) -> None:
        """What the worker does by itself every ten seconds."""
        await AlertsLoop(self.pool, Metrics()).look()

    async def price(self, llm: str) -> None:
        version = uuid4()
        await self.pool.execute(
            "INSERT INTO price_versions (id, route_id, effective_from, source, digest, origin) SELECT $1, r.id, '2020-01-01',"
            " 'operator', '', 'custom' FROM routes r JOIN llms l ON l.id = r.llm_id WHERE l.name = $2",
            version, llm,
        )  # fmt: skip
        for unit, pusd in PUSD.items():
            await self.pool.execute(
                "INSERT INTO price_items (id, version_id, unit, price_pusd) VALUES ($1, $2, $3, $4)", uuid4(), version, unit, pusd
            )

    async def assert_agreement(self) -> None:
        async with self.pool.acquire() as db:
            findings = [finding async for finding in verify(db)]
        assert {finding.check.name: finding.examples for finding in findings if finding.differences} == {}
        assert sum(finding.looked_at for finding in findings) > 0


@pytest.fixture
async def operator(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream, pool: Pool, capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Operator]:
    providers, llms = one_provider(upstream.base_url)
    llms.append({"name": "priceless", "routes": [{"provider": "scripted", "model": "upstream-model-2"}]})
    assert llms[0]["price"] == PRICE
    settings = settings_of(tmp_path, database_url, redis_url, providers, llms, server={"shutdown_grace_s": 1.0})
    async with running(settings) as up:
        yield Operator(up, pool, tmp_path, capsys)


async def test_from_unpriced_to_paid(operator: Operator, upstream: Upstream) -> None:
    upstream.expect(*(whole(ANSWER) for _ in range(4)))
    for llm in ("priceless", "priceless", "priceless", "scripted-llm"):
        await operator.asks(llm)
    await operator.up.rows(4)
    unpriced = await operator.json("requests", "list", "--unpriced")
    assert [row["llm"] for row in unpriced] == ["priceless"] * 3
    await operator.look_for_alerts()
    (alert,) = await operator.json("alerts")
    assert (alert["kind"], alert["subject"]) == ("unpriced", "scripted/priceless")
    assert "3 attempts" in alert["message"]
    await operator.assert_agreement()

    await operator.price("priceless")
    words = ("rerate", "--from", "1h", "--llm", "priceless")
    said = await operator.json(*words, "--dry-run")
    assert (said["changed"], said["charge_difference_usd"]) == (3, "0.000246")
    assert len(await operator.json("requests", "list", "--unpriced")) == 3
    ran = await operator.types(*words)
    figures = dict(line.split("\t") for line in ran.out.splitlines())
    assert figures == {
        "EXAMINED": "3", "CHANGED": "3", "BECAME PRICED": "3", "STILL UNPRICED": "0", "LIST DIFFERENCE USD": "0.000246",
        "CHARGE DIFFERENCE USD": "0.000246",
    }  # fmt: skip
    assert (await operator.json(*words))["changed"] == 0
    assert await operator.json("requests", "list", "--unpriced") == []
    shown = await operator.json("requests", "show", unpriced[0]["id"])
    assert (shown["list_cost_usd"], shown["corrected"], len(shown["corrections"])) == (COST, True, 1)
    await operator.look_for_alerts()
    assert await operator.json("alerts") == []
    (over,) = await operator.json("alerts", "--all")
    assert (over["id"], over["state"]) == (alert["id"], "resolved")
    await operator.assert_agreement()

    refund = ("billing", "refund", unpriced[0]["id"], "--reason", "the price came late")
    await operator.types(*refund, "--amount", "0.00008")
    ran = await operator.types(*refund, "--amount", "1.00", code=1)
    assert "more than is still owed" in ran.err and "0.000002 USD" in ran.err
    ran = await operator.types(*refund)
    assert ran.out.startswith("bill_") and "0.000002 USD refunded" in ran.err
    entries = await operator.json("billing", "list", "--attempt", unpriced[0]["id"])
    assert [(entry["kind"], entry["amount_usd"]) for entry in entries] == [
        ("refund", "-0.000002"), ("refund", "-0.00008"), ("usage", COST),
    ]  # fmt: skip
    (workspace,) = await operator.json("workspaces", "list")
    await operator.types("billing", "credit", workspace["name"], "25.00", "--reason", "goodwill")
    (credit,) = await operator.json("billing", "list", "--kind", "credit")
    assert (credit["amount_usd"], credit["reason"], credit["attempt_id"]) == ("-25.00", "goodwill", None)
    await operator.assert_agreement()


async def test_the_worker_raises_alerts_by_itself(operator: Operator, upstream: Upstream) -> None:
    await operator.pool.execute("INSERT INTO dead_letters (shard, entry_id, payload, error) VALUES (0, '1-1', '', 'x')")

    async def alerted() -> bool:
        return [row["kind"] for row in (await operator.up.api("alerts"))["data"]] == ["dead_letters"]

    await until(alerted, "an alert", 15)


async def test_what_was_priced_right_stays_as_it_is(operator: Operator, upstream: Upstream) -> None:
    """Streamed or not, estimated or not: priced again it comes to the same."""
    upstream.expect(whole(ANSWER), whole(ANSWER.replace(b'"usage"', b'"unused"')))
    for llm in ("scripted-llm", "scripted-llm", "synapscale/echo"):
        await operator.asks(llm)
    body = {"model": "synapscale/echo", "stream": True, "messages": [{"role": "user", "content": "hello there"}]}
    assert (await operator.up.chat(body)).status == 200
    await operator.up.rows(4)
    done = await operator.json("rerate", "--from", "1h", "--dry-run")
    assert (done["examined"], done["changed"], done["unpriced"]) == (4, 0, 0)
