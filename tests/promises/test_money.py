"""Promises 2, 4 and 10: integers only, an unknown price is not zero, what was written is corrected and never changed."""

from __future__ import annotations

import pytest
from asyncpg import exceptions

from tests.promises.books import audit, pusd, written
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import House
from tests.promises.provider import CACHE_READ_PUSD, INPUT_PUSD, OUTPUT_PUSD, Provider


async def test_a_cost_is_the_sum_of_its_lines_to_the_last_pico(house: House, provider: Provider, crowd: Crowd) -> None:
    await crowd.ask(Ask("cached", stream=False))
    await audit(house, provider, crowd)
    [row] = [row for row in house.api("usage/events?limit=100")["data"] if row["end_user"] == crowd.tries[0].label]
    lines = {line["unit"]: (line["quantity"], pusd(line["list_cost_usd"])) for line in row["lines"]}
    # prompt=100, cached=64, chunks=12
    assert lines == {"input": (36, 36 * INPUT_PUSD), "cache_read": (64, 64 * CACHE_READ_PUSD), "output": (12, 12 * OUTPUT_PUSD)}
    assert row["list_cost_usd"] == "0.0000174" and b"x-synapscale-cost-usd: 0.0000174\r\n" in crowd.tries[0].body


async def test_no_column_holds_money_that_can_be_rounded(house: House) -> None:
    floating = await house.query(
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND data_type IN ('real', 'double precision', 'money')"""
    )
    assert [tuple(row) for row in floating] == []


async def test_an_unknown_price_is_not_zero(house: House, crowd: Crowd) -> None:
    """The row says that nobody knows, keeps what was consumed, and nothing is owed yet."""
    counted = house.metric("synapscale_unpriced_attempts_total")
    tried = await crowd.ask(Ask("unpriced", stream=False))
    assert tried.end == "finished" and b"x-synapscale-cost-usd" not in tried.body
    await written(house, crowd, 1)
    [row] = [row for row in house.api("usage/events?pricing=unpriced")["data"] if row["end_user"] == tried.label]
    assert (row["pricing"], row["input_tokens"], row["output_tokens"]) == ("unpriced", 7, 9)
    assert [(line["unit"], line["quantity"], line["price_item_id"]) for line in row["lines"]] == [
        ("input", 7, None), ("output", 9, None),
    ]  # fmt: skip
    assert house.api(f"billing/events?attempt_id={row['id']}")["data"] == []
    assert house.metric("synapscale_unpriced_attempts_total") >= counted


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_events SET amount_pusd = 0", "DELETE FROM billing_events", "TRUNCATE billing_events"]
)
async def test_the_ledger_is_append_only(house: House, crowd: Crowd, statement: str) -> None:
    """Not even its own database account can change an entry."""
    await crowd.ask(Ask("short"))
    await written(house, crowd, 1)
    with pytest.raises(exceptions.RaiseError, match="append-only"):
        await house.query(statement)
