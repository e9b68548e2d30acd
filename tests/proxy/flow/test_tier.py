"""Which service tier is priced: the one that was served, or asked for where a provider's word cannot be trusted."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from tests.gateway import PRICE, PROVIDER_KEY, running, settings_of
from tests.upstream.script import whole
from tests.upstream.server import Upstream

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}
TIERS = {"flex": {"input": "0.05", "output": "0.20"}, "priority": {"input": "0.30", "output": "1.20"}}
# 20 and 5 tokens at the standard tier, at flex, at priority.
STANDARD, FLEX, PRIORITY = "0.000006", "0.000002", "0.000012"


@pytest.mark.parametrize(
    ("trusted", "asked", "answered", "tier", "cost"),
    [
        ("served", "priority", "default", "", STANDARD),  # not what was wished for
        ("served", "auto", "flex", "flex", FLEX),
        ("served", "fast", "priority", "priority", PRIORITY),
        ("requested", "flex", "default", "flex", FLEX),  # it echoes `default` whatever it does
        ("requested", "fast", "default", "priority", PRIORITY),
        ("requested", None, "priority", "", STANDARD),
    ],
)
async def test_tier(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream,
    trusted: str, asked: str | None, answered: str, tier: str, cost: str,
) -> None:
    provider = {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY, "service_tier": trusted}
    llm = {"name": "m", "routes": [{"provider": "p", "model": "m", "price": {**PRICE, "tiers": TIERS}}]}
    answer = {"id": "c", "model": "m", "choices": [CHOICE], "usage": USAGE, "service_tier": answered}
    upstream.expect(whole(orjson.dumps(answer)))
    ask = {"model": "m", "messages": [{"role": "user", "content": "?"}], "service_tier": asked}
    async with running(settings_of(tmp_path, database_url, redis_url, {"p": provider}, [llm])) as up:
        said = await up.chat(ask if asked else {**ask, "service_tier": "auto"})
        (row,) = await up.rows(1)
        detail = await up.api(f"usage/events/{row['id']}")
    assert said.headers["x-synapscale-cost-usd"] == cost
    assert (row["service_tier"], row["list_cost_usd"]) == (tier, cost)
    # Anybody can take the row and work it out again.
    prices = {price["id"]: price for price in detail["prices"]}
    assert {price["service_tier"] for price in prices.values()} == {tier}
    for line in detail["lines"]:
        price = prices[line["price_item_id"]]
        assert Decimal(line["quantity"]) * Decimal(price["usd"]) / price["per_units"] == Decimal(line["list_cost_usd"])
        assert (price["unit"], price["llm"], price["source"]) == (line["unit"], "m", "config")
