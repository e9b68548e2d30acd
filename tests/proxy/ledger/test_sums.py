"""Whatever comes, in whatever order and batches: rollups are the sum of the rows, billing is what the rows owe."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.wire.ids import uuid7

HOUR_MS = 3_600_000

amounts = st.integers(0, 10**15)
units = st.sampled_from(["input", "cache_read", "output", "requests", "unpriced", "web_searches"])
lines = st.lists(st.tuples(units, amounts, amounts), max_size=4)
outcomes = st.sampled_from(["ok", "client_abort", "upstream_error", "abandoned"])


@st.composite
def versions(draw: st.DrawFn) -> dict[str, Any]:
    """What an event may say about an attempt, the attempt itself aside."""
    found = draw(lines)
    priced, ours = draw(st.booleans()), draw(st.booleans())
    listed = [amount if priced else 0 for _, _, amount in found]
    return {
        "outcome": draw(outcomes),
        "units": [unit for unit, _, _ in found],
        "quantities": [quantity for _, quantity, _ in found],
        "price_item_ids": [None] * len(found),
        "line_list_pusd": listed,
        "line_charge_pusd": listed if ours else [0] * len(found),
        "list_pusd": sum(listed),
        "charge_pusd": sum(listed) if ours else 0,
        "pricing": "priced" if priced else "unpriced",
        "provider_account": "ours" if ours else "own",
        "service_tier": draw(st.sampled_from(["", "flex"])),
        "agent_id": draw(st.sampled_from([None, UUID(int=9)])),
        "reasoning_tokens": draw(st.sampled_from([None, 0, 7])),
    }


# Attempt (of the last 30 hours), what is said of it, and whether a batch ends here.
stories = st.lists(st.tuples(st.integers(0, 5), versions(), st.booleans()), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories, st.data())
async def test_rollups_and_billing_agree_with_the_rows(ledger, event, story, data):
    base = event()
    now = base.attempt_id.int >> 80
    attempts = [uuid7(now - data.draw(st.integers(0, 30)) * HOUR_MS) for _ in range(6)]
    for attempt, said, batch_ends in story:
        await ledger.add(msgspec.structs.replace(base, attempt_id=attempts[attempt], **said))
        if batch_ends:
            await ledger.settle()
    await ledger.settle()
    await ledger.assert_sums()
    assert await ledger.rows("dead_letters") == []
    finals = {attempts[attempt] for attempt, said, _ in story if said["outcome"] != "abandoned"}
    rows = {row["attempt_id"]: row["outcome"] for row in await ledger.rows() if row["attempt_id"] in attempts}
    assert set(rows) == {attempts[attempt] for attempt, _, _ in story}
    assert {attempt for attempt, outcome in rows.items() if outcome != "abandoned"} == finals
