"""Attempts priced again on a real ledger."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.proxy.ledger.conftest import build_abandoned, build_event
from tests.proxy.ledger.corrections.conftest import AUTHOR, House

RAW = '{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}'
UNPRICED: dict[str, Any] = {
    "pricing": "unpriced", "line_list_pusd": [0, 0], "line_charge_pusd": [0, 0], "raw_usage": RAW,
}  # fmt: skip


async def settle(house: House, *events: Any) -> None:
    await house.ledger.add(*events)
    await house.ledger.settle()


async def figures(house: House) -> list[tuple[int, int, str]]:
    """List, charge, pricing as they count now, by SQL of the test's own."""
    rows = await house.pool.fetch("""
        SELECT coalesce(c.list_pusd, e.list_pusd), coalesce(c.charge_pusd, e.charge_pusd), coalesce(c.pricing, e.pricing)
        FROM usage_events e LEFT JOIN LATERAL (
            SELECT * FROM usage_corrections k WHERE k.attempt_id = e.attempt_id AND k.row_recorded_at = e.recorded_at
            ORDER BY number DESC LIMIT 1) c ON true ORDER BY e.attempt_id""")
    return [tuple(row.values()) for row in rows]


async def assert_agreement(house: House) -> None:
    """Ledger = events = rollups."""
    owed = sum(charge for _, charge, pricing in await figures(house) if pricing == "priced")
    charged = [amount for kind, amount in await house.entries() if kind in ("usage", "platform_fee", "adjustment")]
    assert sum(charged) == owed
    for table in ("usage_hourly", "usage_daily"):
        row = await house.pool.fetchrow(
            f"SELECT coalesce(sum(list_pusd), 0)::bigint AS list, coalesce(sum(charge_pusd), 0)::bigint AS charge,"
            f" coalesce(sum(quantity) FILTER (WHERE unit = 'unpriced'), 0)::bigint AS unpriced,"
            f" coalesce(sum(quantity) FILTER (WHERE unit = 'requests'), 0)::bigint AS requests FROM {table}"
        )
        assert row is not None
        now = await figures(house)
        assert (row["list"], row["charge"]) == (sum(one[0] for one in now), sum(one[1] for one in now))
        assert row["unpriced"] == sum(one[2] == "unpriced" for one in now)
        assert row["requests"] == len(now)


async def test_an_unpriced_attempt_is_priced_and_billed(house: House) -> None:
    await settle(house, build_event(**UNPRICED))
    assert await house.entries() == []
    assert (await house.everything()).unpriced == 1
    await house.price(input=3, output=7)
    done = await house.everything()
    assert (done.examined, done.changed, done.became_priced, done.unpriced) == (1, 1, 1, 0)
    assert (done.list_pusd, done.charge_pusd) == (65, 65)
    assert await figures(house) == [(65, 65, "priced")]
    assert await house.entries() == [("usage", 65)]
    (row,) = await house.ledger.rows("billing_events")
    assert (row["actor_kind"], row["actor_id"], row["reason"]) == (AUTHOR.kind, AUTHOR.id, AUTHOR.reason)
    (event,) = await house.ledger.rows()
    assert (event["pricing"], event["list_pusd"]) == ("unpriced", 0)  # what was settled is not changed
    await assert_agreement(house)


async def test_a_wrong_price_is_adjusted_and_the_entry_is_named(house: House) -> None:
    await settle(house, build_event(raw_usage=RAW))
    await house.price(input=1, output=1)
    assert (await house.everything()).charge_pusd == -50
    await house.price(input=2, output=1)
    assert (await house.everything()).charge_pusd == 10
    assert await house.entries() == [("usage", 65), ("adjustment", -50), ("adjustment", 10)]
    base, *others = await house.ledger.rows("billing_events", "id")
    assert {row["corrects"] for row in others} == {base["id"]}
    numbers = [row["number"] for row in await house.ledger.rows("usage_corrections", "number")]
    assert numbers == [1, 2]
    await assert_agreement(house)


async def test_the_second_time_nothing_changes(house: House) -> None:
    await settle(house, *(build_event(**UNPRICED) for _ in range(5)))
    await house.price(input=3, output=7)
    assert (await house.everything()).changed == 5
    before = await house.ledger.rows("usage_corrections", "attempt_id"), await house.entries()
    again = await house.everything()
    assert (again.examined, again.changed, again.list_pusd, again.charge_pusd) == (5, 0, 0, 0)
    assert (await house.ledger.rows("usage_corrections", "attempt_id"), await house.entries()) == before


async def test_a_dry_run_says_the_same_and_writes_nothing(house: House) -> None:
    await settle(house, build_event(**UNPRICED), build_event(raw_usage=RAW))
    await house.price(input=3, output=8)
    said = await house.everything(dry_run=True)
    assert await house.ledger.rows("usage_corrections") == [] and await house.entries() == [("usage", 65)]
    await assert_agreement(house)
    done = await house.everything()
    assert said == done and done.changed == 2 and done.charge_pusd == 70 + 5


async def test_batches_reach_every_attempt_once(house: House) -> None:
    days = [house.now - timedelta(days=back) for back in range(12)]
    await house.days(*days)
    moments = [day - timedelta(seconds=n) for day in days[1:] for n in range(3)]
    await settle(house, *(build_event(at_ms=int(at.timestamp() * 1000), **UNPRICED) for at in moments))
    await house.price(input=3, output=7)
    assert (await house.everything(limit=2)).examined == len(moments)
    assert await house.pool.fetchval("SELECT count(*) FROM usage_corrections") == len(moments)
    await assert_agreement(house)


async def test_only_of_that_llm_and_time(house: House) -> None:
    hour = timedelta(hours=1)
    await house.days(house.now - hour)
    old = int((house.now - hour).timestamp() * 1000)
    await settle(house, build_event(at_ms=old, **UNPRICED), build_event(llm="other", **UNPRICED), build_event(**UNPRICED))
    await house.price(input=3, output=7)
    assert (await house.everything(llm="gpt-4o-mini", since=house.now - hour / 2)).changed == 1
    assert await figures(house) == [(0, 0, "unpriced"), (0, 0, "unpriced"), (65, 65, "priced")]


async def test_the_price_of_its_beginning(house: House) -> None:
    hour = timedelta(hours=1)
    await house.days(house.now - hour)
    await settle(house, build_event(at_ms=int((house.now - hour).timestamp() * 1000), **UNPRICED), build_event(**UNPRICED))
    await house.price(until=house.now - hour / 2, input=1, output=1)
    await house.price(since=house.now - hour / 2, input=100, output=100)
    await house.everything()
    assert [listed for listed, _, _ in await figures(house)] == [15, 1500]


async def test_the_providers_own_words_are_read_again(house: House) -> None:
    """As after a reader was wrong: 4 of the 10 were cached. A search that only its line knows stays."""
    items = await house.price(input=3, cache_read=1, output=7, web_searches=1000)
    raw = '{"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}'
    await settle(house, build_event(
        raw_usage=raw, units=["input", "output", "web_searches"], quantities=[10, 5, 1],
        price_item_ids=[items[unit] for unit in ("input", "output", "web_searches")],
        line_list_pusd=[30, 35, 1000], line_charge_pusd=[30, 35, 1000],
    ))  # fmt: skip
    done = await house.everything()
    assert done.list_pusd == -8
    (row,) = await house.ledger.rows("usage_corrections")
    assert dict(zip(row["units"], row["quantities"], strict=True)) == {
        "input": 6, "cache_read": 4, "output": 5, "web_searches": 1,
    }  # fmt: skip
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (10, 4, 5)
    await assert_agreement(house)


@pytest.mark.parametrize("raw", [None, "", "{", '{"prompt_tokens": "many"}', "[]", "nonsense " * 900])
async def test_without_readable_words_the_lines_stand(house: House, raw: str | None) -> None:
    await settle(house, build_event(**UNPRICED | {"raw_usage": raw}))
    await house.price(input=3, output=7)
    await house.everything()
    assert await figures(house) == [(65, 65, "priced")]


async def test_another_version_of_the_same_price_is_no_correction(house: House) -> None:
    items = await house.price(input=3, output=7)
    await settle(house, build_event(raw_usage=RAW, price_item_ids=[items["input"], items["output"]]))
    await house.price(input=3, output=7)
    assert (await house.everything()).changed == 0


async def test_a_price_that_is_gone_makes_it_unpriced_again(house: House) -> None:
    items = await house.price(input=3, output=7)
    await settle(house, build_event(raw_usage=RAW, price_item_ids=[items["input"], items["output"]]))
    await house.pool.execute("UPDATE price_versions SET superseded_at = now()")
    done = await house.everything()
    assert (done.changed, done.unpriced, done.charge_pusd) == (1, 1, -65)
    assert await house.entries() == [("usage", 65), ("adjustment", -65)]
    await assert_agreement(house)


async def test_what_may_still_be_settled_is_left(house: House) -> None:
    lately, long_ago = build_event(), build_event(at_ms=int((house.now - timedelta(hours=49)).timestamp() * 1000))
    await house.days(house.now - timedelta(hours=49))
    await house.price(input=100, output=7)
    await settle(house, build_abandoned(lately), build_abandoned(long_ago))
    done = await house.everything()
    assert (done.examined, done.left, done.changed) == (1, 1, 1)
    assert [charge for _, charge, _ in await figures(house)] == [800, 24]


async def test_settled_after_it_was_corrected(house: House) -> None:
    """The correction was of the abandoned row: the final one counts by itself, and the ledger gets the rest."""
    at = house.now - timedelta(hours=60)
    await house.days(at)
    event = build_event(at_ms=int(at.timestamp() * 1000), raw_usage=RAW)
    await house.price(input=100, output=7)
    await settle(house, build_abandoned(event))
    await house.everything()
    await settle(house, event)
    assert await figures(house) == [(65, 65, "priced")]
    assert sum(amount for _, amount in await house.entries()) == 65
    await assert_agreement(house)
    assert (await house.everything()).changed == 1
    assert await figures(house) == [(1035, 1035, "priced")]
    assert [row["number"] for row in await house.ledger.rows("usage_corrections", "number")] == [1, 2]
    await assert_agreement(house)


async def test_the_plan_of_its_time_decides_the_charge(house: House) -> None:
    await house.price(input=3, output=7)
    await settle(house, build_event(**UNPRICED))
    await house.plan(markup_bps=1250)
    assert (await house.everything()).charge_pusd == 73  # 33.75 + 39.375, each half-even: 34 + 39
    await house.pool.execute(
        "INSERT INTO price_overrides (id, workspace_id, llm_id, markup_bps, effective_from)"
        " SELECT $1, workspace_id, $1, -5000, effective_from FROM plans", house.llm_id,
    )  # fmt: skip
    assert (await house.everything()).charge_pusd == 33 - 73  # 15 + 17.5, half-even 18
    await house.plan(internal=True)
    await house.everything()
    assert await figures(house) == [(65, 0, "priced")]
    assert await house.entries() == [("usage", 73), ("adjustment", -40), ("adjustment", -33)]
    await assert_agreement(house)


@pytest.mark.parametrize("reason", ["empty_answer", "void"])
async def test_what_was_free_stays_free(house: House, reason: str) -> None:
    await house.price(input=3, output=7)
    await settle(house, build_event(**UNPRICED, charge_kind="none", charge_bps=0, charge_reason=reason))
    await house.everything()
    assert await figures(house) == [(65, 0, "priced")]
    (row,) = await house.ledger.rows("usage_corrections")
    assert (row["charge_kind"], row["charge_reason"]) == ("none", reason)
    assert await house.entries() == []


async def test_fees_of_own_keys_and_what_is_free_of_them(house: House) -> None:
    own: dict[str, Any] = {
        "provider_account": "own", "key_source": "workspace", "charge_kind": "platform_fee", "charge_bps": 1000,
    }  # fmt: skip
    await house.plan(platform_fee_bps=1000, free_fees_pusd=10)
    await settle(house, build_event(**UNPRICED, **own), build_event(**UNPRICED, **own))
    await house.price(input=3, output=7)
    await house.everything()  # 3 + 3.5, half-even 4: 7 each
    assert sorted(await house.entries()) == [("credit", -7), ("credit", -3), ("platform_fee", 7), ("platform_fee", 7)]
    assert await house.pool.fetchval("SELECT used_pusd::bigint FROM fee_allowances") == 10
    await house.price(input=0, output=0)
    await house.everything()
    assert sum(amount for _, amount in await house.entries()) == 0
    assert await house.pool.fetchval("SELECT used_pusd::bigint FROM fee_allowances") == 0
    await assert_agreement(house)


async def test_the_ledger_writer_waits_and_so_does_a_correction(house: House) -> None:
    await settle(house, build_event(**UNPRICED))
    await house.price(input=3, output=7)
    async with house.pool.acquire() as db, db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(1819305063, 0)")
        correcting = asyncio.create_task(house.everything())
        await asyncio.sleep(0.3)
        assert not correcting.done()
    assert (await correcting).changed == 1


async def test_two_at_once_correct_once(house: House) -> None:
    await settle(house, *(build_event(**UNPRICED) for _ in range(20)))
    await house.price(input=3, output=7)
    done = await asyncio.gather(house.everything(), house.everything())
    assert sorted(one.changed for one in done) == [0, 20]
    await assert_agreement(house)


async def test_corrections_are_not_changed(house: House) -> None:
    await settle(house, build_event(**UNPRICED))
    await house.price(input=3, output=7)
    await house.everything()
    for change in ("UPDATE usage_corrections SET list_pusd = 0", "DELETE FROM usage_corrections", "TRUNCATE usage_corrections"):
        with pytest.raises(Exception, match="append-only"):
            await house.pool.execute(change)


async def test_priced_in_part_owes_nothing_yet(house: House) -> None:
    await settle(house, build_event(**UNPRICED))
    await house.price(input=3)
    done = await house.everything()
    assert (done.changed, done.became_priced, done.unpriced, done.list_pusd) == (1, 0, 1, 30)
    assert await house.entries() == []
    await assert_agreement(house)
    await house.price(input=3, output=7)
    await house.everything()
    assert await house.entries() == [("usage", 65)]
    await assert_agreement(house)


async def test_a_price_of_nothing_is_a_price(house: House) -> None:
    await settle(house, build_event(**UNPRICED))
    await house.price(input=0)
    await house.everything()
    (row,) = await house.ledger.rows("usage_corrections")
    assert [item is None for item in row["price_item_ids"]] == [False, True]
    await house.price(input=0, output=0)
    assert (await house.everything()).became_priced == 1
    assert await house.entries() == []


async def test_days_with_little_are_gone_through_a_few_at_a_time(house: House) -> None:
    days = [house.now - timedelta(days=back) for back in range(1, 20)]
    await house.days(*days)
    for at in (days[0], days[-1]):
        await settle(house, build_event(at_ms=int(at.timestamp() * 1000), **UNPRICED))
    await house.price(input=3, output=7)
    assert (await house.batch()).place is not None
    assert (await house.everything(dry_run=True)).examined == 2


async def test_a_batch_that_fails_has_done_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await settle(house, *(build_event(**UNPRICED) for _ in range(4)))
    await house.price(input=3, output=7)
    first = await house.batch(limit=2)
    with monkeypatch.context() as patched:
        patched.setattr("proxy.ledger.corrections.store.write_entries", _fail)
        with pytest.raises(ConnectionError):
            await house.batch(limit=2, place=first.place)
    await assert_agreement(house)
    assert (await house.everything(limit=2)).changed == 2
    await assert_agreement(house)


async def _fail(*_: object) -> None:
    raise ConnectionError
