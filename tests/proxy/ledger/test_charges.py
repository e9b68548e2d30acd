"""Whose money: what the ledger writes for each kind of charge, and the credits of the monthly allowance."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from proxy.ledger import store
from proxy.ledger.entry import DateBounds
from proxy.wire.ids import uuid7
from tests.proxy.ledger.conftest import WORKSPACE, Ledger, build_abandoned, build_event

FEE = {"provider_account": "own", "key_source": "user", "charge_kind": "platform_fee", "charge_bps": 5_000}
FREE_OF_CHARGE = {"charge_kind": "none", "charge_bps": 0}
# List 65, so a fee of 32: 15 and 17.5, half-even 18, is 33. Chosen so that rounding shows.
FEE_PUSD = 33


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture
async def at(ledger: Ledger) -> AsyncIterator[Any]:
    """A writer that believes any date, with partitions for the days that tests name."""
    writer = ledger.another_writer(bounds=DateBounds(past_s=10**10, future_s=10**9))

    async def settle(*events: Any) -> None:
        await ledger.add(*events)
        await ledger.settle(writer)

    yield settle


async def plan(
    ledger: Ledger, free_pusd: int, *, zone: str = "UTC", since: str = "2020-01-01T00:00:00Z", until: str | None = None
) -> None:
    pool = ledger.pool
    await pool.execute(
        "INSERT INTO workspaces (id, name, shard, key_policy, time_zone) VALUES ($1, 'acme', 0, 'own_else_global', $2) "
        "ON CONFLICT DO NOTHING", WORKSPACE, zone,
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO plans (id, workspace_id, platform_fee_bps, free_fees_pusd, effective_from, effective_to) "
        "VALUES ($1, $2, 5000, $3, $4, $5)",
        uuid4(), WORKSPACE, free_pusd, datetime.fromisoformat(since), until and datetime.fromisoformat(until),
    )  # fmt: skip


async def entries(ledger: Ledger) -> list[tuple[str, int]]:
    return [(row["kind"], row["amount_pusd"]) for row in await ledger.rows("billing_events", "id")]


async def used(ledger: Ledger) -> dict[str, int]:
    return {str(row["month"]): int(row["used_pusd"]) for row in await ledger.rows("fee_allowances")}


async def assert_allowance(ledger: Ledger) -> None:
    """Credits name a fee, none exceeds it, and a month's sum is what its row says."""
    rows = await ledger.rows("billing_events", "id")
    fees = {row["id"]: row for row in rows if row["kind"] == "platform_fee"}
    now: dict[UUID, int] = {}
    for row in rows:
        if row["kind"] in ("platform_fee", "adjustment"):
            now[row["attempt_id"]] = now.get(row["attempt_id"], 0) + row["amount_pusd"]
    credited: dict[UUID, int] = {}
    for row in rows:
        if row["kind"] == "credit":
            credited[row["corrects"]] = credited.get(row["corrects"], 0) - row["amount_pusd"]
            assert (row["actor_kind"], row["reason"] != "") == ("system", True)
    for entry_id, pusd in credited.items():
        assert 0 <= pusd <= now[fees[entry_id]["attempt_id"]]
    assert sum(credited.values()) == sum((await used(ledger)).values())
    await ledger.assert_sums()


async def test_each_kind_of_charge_has_its_entry(ledger, event):
    marked_up = event(charge_bps=11_250)
    await ledger.add(
        event(), marked_up, event(**FEE), event(**FREE_OF_CHARGE, charge_reason="internal"),
        event(**FREE_OF_CHARGE, charge_reason="own_key", provider_account="own", key_source="user"),
        event(**{**FEE, "pricing": "unpriced", "line_list_pusd": [0, 0]}), event(charge_bps=0),
    )  # fmt: skip
    await ledger.settle()
    assert (marked_up.line_charge_pusd, marked_up.charge_pusd) == ([34, 39], 73)
    assert await ledger.billed() == [("usage", 65), ("usage", 73), ("platform_fee", FEE_PUSD)]
    rows = {row["attempt_id"]: row for row in await ledger.rows()}
    assert (rows[marked_up.attempt_id]["charge_bps"], rows[marked_up.attempt_id]["charge_pusd"]) == (11_250, 73)
    await ledger.assert_sums()


async def test_an_own_key_of_an_older_gateway_is_free(ledger, event):
    await ledger.add(event(provider_account="own", key_source="user", line_charge_pusd=[0, 0]))
    await ledger.settle()
    [row] = await ledger.rows()
    assert (row["charge_kind"], row["charge_bps"], row["charge_reason"]) == ("none", 0, "own_key")
    assert await ledger.billed() == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"charge_kind": "gift"}, "charge_kind is"),
        ({"charge_kind": "none"}, "charge_bps is out of range for none"),
        ({"charge_kind": "platform_fee", "charge_bps": 0}, "charge_bps is out of range for platform_fee"),
        ({"charge_kind": "platform_fee", "charge_bps": 10_001}, "charge_bps is out of range"),
        ({"charge_bps": -1, "line_charge_pusd": [30, 35]}, "charge_bps is out of range for usage"),
        ({"charge_bps": 11_250, "line_charge_pusd": [34, 40]}, "not its list amount at 11250 basis points"),
        ({"line_charge_pusd": [29, 36]}, "not its list amount at 10000 basis points"),
    ],
)
async def test_a_charge_that_does_not_follow_from_its_list_is_a_dead_letter(ledger, event, wrong, why):
    await ledger.add(event(**wrong), event())
    await ledger.settle()
    [letter] = await ledger.rows("dead_letters", "1")
    assert why in letter["error"]
    assert await ledger.billed() == [("usage", 65)]


async def test_fees_are_credited_until_the_allowance_is_used_up(ledger, event, at):
    await plan(ledger, 50)
    first, second, third = (event(at_ms=ms(f"2026-11-20T10:00:0{second}Z"), **FEE) for second in (1, 2, 3))
    await at(third, second, first)  # by their time, however they come
    assert await entries(ledger) == [("platform_fee", FEE_PUSD)] * 3 + [("credit", -FEE_PUSD), ("credit", -17)]
    rows = await ledger.rows("billing_events", "id")
    base = {row["id"]: row["attempt_id"] for row in rows if row["kind"] == "platform_fee"}
    assert [base[row["corrects"]] for row in rows if row["kind"] == "credit"] == [first.attempt_id, second.attempt_id]
    assert [row["attempt_id"] for row in rows if row["kind"] == "credit"] == [first.attempt_id, second.attempt_id]
    assert await used(ledger) == {"2026-11-01": 50}
    await at(first, second, third)  # repeated: nothing
    await at(event(at_ms=ms("2026-11-20T10:00:09Z"), **FEE))  # used up: nothing
    assert await used(ledger) == {"2026-11-01": 50}
    assert [kind for kind, _ in await entries(ledger)].count("credit") == 2
    await assert_allowance(ledger)


async def test_an_allowance_lasts_over_batches_and_begins_anew_with_the_month(ledger, event, at):
    await plan(ledger, 40)
    for moment in ("2026-10-31T23:59:59Z", "2026-10-31T23:59:59.5Z", "2026-11-01T00:00:00Z"):
        await at(event(at_ms=ms(moment), **FEE))
    assert await used(ledger) == {"2026-10-01": 40, "2026-11-01": 33}
    await assert_allowance(ledger)


async def test_a_month_is_that_of_the_workspaces_time_zone(ledger, event, at):
    await plan(ledger, 40, zone="Asia/Tokyo")
    await at(event(at_ms=ms("2026-10-31T14:59:59Z"), **FEE), event(at_ms=ms("2026-10-31T15:00:00Z"), **FEE))
    assert await used(ledger) == {"2026-10-01": 33, "2026-11-01": 33}
    await assert_allowance(ledger)


async def test_the_plan_of_an_attempts_moment_says_how_much_is_free(ledger, event, at):
    await plan(ledger, 0, until="2026-11-10T00:00:00Z")
    await plan(ledger, 1_000, since="2026-11-10T00:00:00Z")
    await at(event(at_ms=ms("2026-11-09T23:59:59Z"), **FEE), event(at_ms=ms("2026-11-10T00:00:00Z"), **FEE))
    assert await used(ledger) == {"2026-11-01": 33}
    await assert_allowance(ledger)


async def test_usage_is_never_credited(ledger, event, at):
    await plan(ledger, 1_000)
    await at(event(at_ms=ms("2026-11-09T23:59:59Z")))
    assert (await entries(ledger), await used(ledger)) == ([("usage", 65)], {})


async def test_without_an_allowance_there_is_nothing_to_keep(ledger, event, at):
    await plan(ledger, 0)
    await at(event(at_ms=ms("2026-11-09T23:59:59Z"), **FEE))
    assert (await entries(ledger), await used(ledger)) == ([("platform_fee", FEE_PUSD)], {})


@pytest.mark.parametrize(
    ("final", "expected", "month"),
    [
        # The abandoned one owed 12 of 24; all of it was waived.
        ({}, [("platform_fee", 12), ("credit", -12), ("adjustment", 21), ("credit", -8)], 20),
        ({"line_list_pusd": [2, 0]}, [("platform_fee", 12), ("credit", -12), ("adjustment", -11), ("credit", 11)], 1),
        (
            {**FREE_OF_CHARGE, "charge_reason": "empty_answer"},
            [("platform_fee", 12), ("credit", -12), ("adjustment", -12), ("credit", 12)],
            0,
        ),
    ],
)
async def test_a_fee_that_is_settled_late_has_its_credit_corrected(ledger, event, at, final, expected, month):
    await plan(ledger, 20)
    at_ms = ms("2026-11-20T10:00:00Z")
    end = event(attempt_id=uuid7(at_ms), **{**FEE, **final})
    begun = build_abandoned(end, charge_kind="platform_fee", charge_bps=5_000, charge_reason="")
    await at(begun)
    await at(end)
    await at(end, begun)
    assert sorted(await entries(ledger)) == sorted(expected)
    assert await used(ledger) == {"2026-11-01": month}
    base, *others = sorted(await ledger.rows("billing_events", "id"), key=lambda row: row["kind"] != "platform_fee")
    assert all(row["corrects"] == base["id"] for row in others)
    await assert_allowance(ledger)


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_begun_settled_and_repeated_attempts_adds_up(ledger, at, seed):
    """Months, zones, batches and duplicates at random: no credit above its fee, no month above its allowance."""
    chance = random.Random(seed)
    await plan(ledger, 150, zone="America/New_York")
    sent: list[Any] = []
    for _ in range(30):
        at_ms = ms("2026-10-31T00:00:00Z") + chance.randrange(3 * 86_400_000)
        final = {**FEE, "line_list_pusd": [chance.randrange(60), chance.randrange(60)]}
        if chance.random() < 0.2:
            final |= {**FREE_OF_CHARGE, "charge_reason": "empty_answer"}
        end = build_event(attempt_id=uuid7(at_ms), **final)
        if chance.random() < 0.6:
            sent.append(build_abandoned(end, charge_kind="platform_fee", charge_bps=5_000, charge_reason=""))
        sent.append(end)
    sent += chance.choices(sent, k=15)
    chance.shuffle(sent)
    while sent:
        size = chance.randrange(1, 8)
        await at(*sent[:size])
        del sent[:size]
    months = await used(ledger)
    assert sorted(months) == ["2026-10-01", "2026-11-01"]
    assert all(0 <= pusd <= 150 for pusd in months.values())
    await assert_allowance(ledger)


async def test_a_late_final_row_adds_up_with_a_correction_of_the_abandoned_one(ledger, event, abandoned):
    """What counts before is what the row came to, not what it says."""
    final = event(reasoning_tokens=2)
    await ledger.add(abandoned(final))
    await ledger.settle()
    await _correct(ledger, final.attempt_id, list_pusd=40, tier="flex")
    await ledger.add(final)
    await ledger.settle()
    assert sorted(amount for _, amount in await ledger.billed()) == [16, 24, 25]  # 24 + 16 + 25 = 65
    await ledger.assert_sums()


async def _correct(ledger: Ledger, attempt_id: UUID, *, list_pusd: int, tier: str) -> None:
    """As a re-rating would: a correction, the ledger's difference and the rollups', all in one transaction."""
    async with ledger.pool.acquire() as conn, conn.transaction():
        await store.become_writer(conn, 0)
        await conn.execute(store.TEMP_TABLES)
        await conn.execute(
            "INSERT INTO usage_corrections (workspace_id, attempt_id, number, occurred_at, row_recorded_at, service_tier, "
            "input_tokens, cached_tokens, output_tokens, reasoning_tokens, usage_inconsistent, units, quantities, "
            "price_item_ids, line_list_pusd, line_charge_pusd, list_pusd, charge_pusd, charge_kind, charge_bps, "
            "charge_reason, pricing, reason, actor_kind, actor_id) "
            "SELECT workspace_id, attempt_id, 1, occurred_at, recorded_at, $2, input_tokens, cached_tokens, "
            "output_tokens, 1, usage_inconsistent, units, quantities, price_item_ids, ARRAY[$3::bigint], "
            "ARRAY[$3::bigint], $3::bigint, $3::bigint, charge_kind, charge_bps, charge_reason, pricing, 'test', 'system', "
            "$4 FROM usage_events WHERE attempt_id = $1",
            attempt_id, tier, list_pusd, UUID(int=0),
        )  # fmt: skip
        columns = (
            "workspace_id, attempt_id, occurred_at, user_id, virtual_key_id, agent_id, llm, provider, key_source, {tier}, "
            "outcome, pricing, {reasoning}, units, quantities, {amounts}, {amounts}, {owed} FROM usage_events"
        )
        before = columns.format(tier="service_tier", reasoning="reasoning_tokens", amounts="line_list_pusd", owed="charge_pusd")
        await conn.execute(f"INSERT INTO ledger_delta_2 SELECT -1, true, {before}")
        after = columns.format(tier="$1", reasoning="1", amounts="ARRAY[$2::bigint]", owed="$2::bigint")
        await conn.execute(f"INSERT INTO ledger_delta_2 SELECT 1, true, {after}", tier, list_pusd)
        await store.rollups.add_delta(conn)
        await conn.execute(
            "INSERT INTO billing_events (id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects, "
            "reason, occurred_at) SELECT $1, workspace_id, user_id, virtual_key_id, attempt_id, 'adjustment', $2, id, 'test', "
            "occurred_at FROM billing_events WHERE kind = 'usage'", uuid4(), list_pusd - 24,
        )  # fmt: skip


async def test_who_corrects_waits_for_the_writer(ledger):
    async with ledger.pool.acquire() as one, ledger.pool.acquire() as other:
        async with one.transaction():
            await store.become_writer(one, 0)
            async with other.transaction():
                assert await store.open_batch(other, 0) is None
                assert await store.open_batch(other, 1) is not None
        async with other.transaction():
            assert await store.open_batch(other, 0) is not None


def test_the_fee_of_these_tests() -> None:
    assert build_event(**FEE).charge_pusd == FEE_PUSD
    assert build_event(at_ms=0).attempt_id.version == 7
    assert datetime.fromtimestamp(ms("2026-11-01T00:00:00Z") / 1000, UTC).month == 11
