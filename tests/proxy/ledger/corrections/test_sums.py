"""Whatever was settled and whatever prices and plans follow: corrections sum to the difference, once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.ledger.conftest import build_event
from tests.proxy.ledger.corrections.conftest import House
from tests.proxy.ledger.corrections.test_rerate import assert_agreement, figures, settle

tokens = st.integers(0, 10**7)
UNITS = ["input", "cache_read", "output", "web_searches"]
prices = st.dictionaries(st.sampled_from([*UNITS, "requests"]), st.integers(0, 10**9), min_size=1)
plans = st.fixed_dictionaries({
    "markup_bps": st.integers(-10_000, 20_000), "platform_fee_bps": st.integers(0, 10_000),
    "free_fees_pusd": st.integers(0, 10**10), "internal": st.booleans(),
})  # fmt: skip


@st.composite
def settled(draw: st.DrawFn) -> dict[str, Any]:
    """What an event says beside its ids: lines with amounts as some price made them, and perhaps the provider's words."""
    prompt, cached, output = draw(tokens), draw(tokens), draw(tokens)
    counts = {"input": prompt, "cache_read": cached, "output": output, "web_searches": draw(st.integers(0, 3))}
    counts = {unit: count for unit, count in counts.items() if count}
    priced, own = draw(st.booleans()), draw(st.booleans())
    listed = [draw(st.integers(0, 10**12)) if priced else 0 for _ in counts]
    raw = {"prompt_tokens": prompt + cached, "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": cached}}
    return {
        "units": list(counts), "quantities": list(counts.values()), "price_item_ids": [None] * len(counts),
        "line_list_pusd": listed, "line_charge_pusd": [0] * len(listed) if own else listed, "list_pusd": sum(listed),
        "charge_pusd": 0 if own else sum(listed), "pricing": "priced" if priced else "unpriced",
        "provider_account": "own" if own else "ours", "charge_kind": "none" if own else "usage",
        "charge_bps": 0 if own else 10_000, "charge_reason": "own_key" if own else "",
        "input_tokens": prompt + cached, "cached_tokens": cached, "output_tokens": output,
        "usage_source": draw(st.sampled_from(["provider", "estimated"])),
        "raw_usage": draw(st.sampled_from([None, json.dumps(raw)])),
        "outcome": draw(st.sampled_from(["ok", "client_abort", "upstream_error"])),
    }  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(settled(), max_size=4), st.lists(st.tuples(prices, plans), min_size=1, max_size=3))
async def test_corrections_sum_to_the_difference(house: House, events: list[dict[str, Any]], terms: list[Any]) -> None:
    await settle(house, *(msgspec.structs.replace(build_event(), **said) for said in events))
    for price, plan in terms:
        await house.price(**price)
        await house.plan(**plan)
        before = await figures(house)
        predicted = await house.everything(dry_run=True)
        done = await house.everything(limit=3)
        after = await figures(house)
        assert predicted == done
        assert sum(one[0] for one in after) - sum(one[0] for one in before) == done.list_pusd
        assert sum(one[1] for one in after) - sum(one[1] for one in before) == done.charge_pusd
        await assert_agreement(house)
        await assert_fees(house)
        written = await house.pool.fetchval("SELECT count(*) FROM usage_corrections")
        again = await house.everything()
        assert (again.changed, again.list_pusd, again.charge_pusd) == (0, 0, 0)
        assert await house.pool.fetchval("SELECT count(*) FROM usage_corrections") == written


async def assert_fees(house: House) -> None:
    """Credits never exceed their fee, and a month's use is what was credited."""
    rows = await house.pool.fetch("""
        SELECT sum(amount_pusd) FILTER (WHERE kind = 'credit') AS credits, sum(amount_pusd) AS net
        FROM billing_events GROUP BY attempt_id""")
    assert all(row["net"] >= 0 and (row["credits"] or 0) <= 0 for row in rows)
    used = await house.pool.fetchval("SELECT coalesce(sum(used_pusd), 0) FROM fee_allowances")
    assert -sum(row["credits"] or 0 for row in rows) == used
