"""A batch from the stream into the tables: once, whole, and whatever is repeated."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from proxy.ledger.entry import DateBounds
from proxy.ledger.writer import Busy, LedgerWriter, Wrote
from proxy.settlement.usage_event import encode
from proxy.storage.away import StoreAway
from proxy.wire.ids import moment_of


async def test_an_event_becomes_a_row_with_all_it_said(ledger, event):
    sent = event(
        agent_id=uuid4(), end_user="ada", conversation_id=uuid4(), message_id=uuid4(), user_variable_id=uuid4(),
        attempt_number=2, stream=True, upstream_status=200, service_tier="flex", cached_tokens=4, reasoning_tokens=3,
        usage_inconsistent=True, price_item_ids=[uuid4(), None], latency_ms=90, first_token_ms=20, overhead_ms=1,
        upstream_request_id="req_1", raw_usage='{"prompt_tokens": 10}', error_code="none",
    )  # fmt: skip
    await ledger.add(sent)
    await ledger.settle()
    [row] = await ledger.rows()
    said = {name: getattr(sent, name) for name in sent.__struct_fields__ if name != "shard"}
    assert {name: row[name] for name in said} == said
    assert row["occurred_at"] == moment_of(sent.attempt_id)
    assert await ledger.billed() == [("usage", 65)]
    assert await ledger.hourly() == {
        "input": (10, 30, 30), "output": (5, 35, 35), "requests": (1, 0, 0), "reasoning": (3, 0, 0),
    }  # fmt: skip
    await ledger.assert_sums()
    assert await ledger.pending() == 0


async def test_repeated_entries_make_one_row(ledger, event):
    first, second = event(), event()
    await ledger.add(first, second, first)
    await ledger.settle()
    await ledger.add(second, first, late=True)
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    assert await ledger.billed() == [("usage", 65), ("usage", 65)]
    await ledger.assert_sums()
    assert ledger.metrics.counts["inserted"] == 2


async def test_of_two_final_events_for_an_attempt_the_first_wins(ledger, event):
    first = event()
    second = event(attempt_id=first.attempt_id, quantities=[99, 5])
    await ledger.add(first, second)
    await ledger.settle()
    await ledger.add(second)
    await ledger.settle()
    [row] = await ledger.rows()
    assert row["quantities"] == [10, 5]


@pytest.mark.parametrize("in_one_batch", [True, False])
@pytest.mark.parametrize("final_first", [True, False])
async def test_abandoned_and_final_end_as_the_final_row(ledger, event, abandoned, in_one_batch, final_first):
    final = event()
    order = [final, abandoned(final)] if final_first else [abandoned(final), final]
    for one in order:
        await ledger.add(one)
        if not in_one_batch:
            await ledger.settle()
    await ledger.settle()
    [row] = await ledger.rows()
    assert (row["outcome"], row["usage_source"], row["units"]) == ("ok", "provider", ["input", "output"])
    corrected = not in_one_batch and not final_first
    assert await ledger.billed() == ([("usage", 24), ("adjustment", 41)] if corrected else [("usage", 65)])
    assert (await ledger.hourly()).get("errors", (0, 0, 0)) == (0, 0, 0)
    await ledger.assert_sums()


async def test_a_correction_names_its_entry_and_happens_once(ledger, event, abandoned):
    final = event(line_list_pusd=[1, 2])
    await ledger.add(abandoned(final))
    await ledger.settle()
    for _ in range(3):
        await ledger.add(final, abandoned(final))
        await ledger.settle()
    usage, correction = await ledger.rows("billing_events", "kind DESC")
    assert (usage["amount_pusd"], correction["amount_pusd"]) == (24, -21)
    assert correction["corrects"] == usage["id"]
    assert correction["reason"]
    assert ledger.metrics.counts["changed"] == 1
    await ledger.assert_sums()


async def test_the_dimensions_of_a_changed_row_move_its_sums(ledger, event, abandoned):
    final = event(service_tier="priority", at_ms=1_000 * 3600 * 24 * 20_000 + 5, reasoning_tokens=2)
    writer = ledger.another_writer(bounds=DateBounds(past_s=10**10))
    await ledger.add(abandoned(final, service_tier=""))
    await ledger.settle(writer)
    await ledger.add(final)
    await ledger.settle(writer)
    await ledger.assert_sums()


async def test_an_abandoned_attempt_that_owed_nothing_has_an_entry_to_correct(ledger, event, abandoned):
    final = event()
    await ledger.add(abandoned(final, line_list_pusd=[0], line_charge_pusd=[0], list_pusd=0, charge_pusd=0))
    await ledger.settle()
    assert await ledger.billed() == [("usage", 0)]
    await ledger.add(final)
    await ledger.settle()
    assert await ledger.billed() == [("usage", 0), ("adjustment", 65)]


async def test_an_abandoned_attempt_without_price_gets_its_entry_with_the_final_event(ledger, event, abandoned):
    final = event()
    await ledger.add(
        abandoned(final, pricing="unpriced", line_list_pusd=[0], line_charge_pusd=[0], list_pusd=0, charge_pusd=0)
    )
    await ledger.settle()
    assert await ledger.billed() == []
    assert (await ledger.hourly())["unpriced"] == (1, 0, 0)
    await ledger.add(final)
    await ledger.settle()
    assert await ledger.billed() == [("usage", 65)]
    assert (await ledger.hourly())["unpriced"] == (0, 0, 0)
    await ledger.assert_sums()


async def test_own_accounts_and_unpriced_attempts_are_not_billed(ledger, event):
    await ledger.add(
        event(provider_account="own", key_source="user", line_charge_pusd=[0, 0]),
        event(pricing="unpriced", line_list_pusd=[0, 0], line_charge_pusd=[0, 0]),
        event(line_list_pusd=[0, 0], line_charge_pusd=[0, 0]),
    )
    await ledger.settle()
    assert len(await ledger.rows()) == 3
    assert await ledger.billed() == []
    assert (await ledger.hourly())["unpriced"] == (1, 0, 0)
    await ledger.assert_sums()


async def test_a_fee_per_request_adds_money_and_no_request(ledger, event):
    await ledger.add(event(units=["requests", "output"], quantities=[1, 5]))
    await ledger.settle()
    assert (await ledger.hourly())["requests"] == (1, 30, 30)
    await ledger.assert_sums()


async def test_more_than_a_batch(ledger, event):
    stream = ledger.another_stream(batch_entries=7)
    await ledger.add(*[event() for _ in range(30)])
    await ledger.settle(ledger.another_writer(stream=stream))
    assert len(await ledger.rows()) == 30
    assert await ledger.pending() == 0
    await ledger.assert_sums()


async def test_poison_is_buried_with_its_bytes_and_blocks_nothing(ledger, event):
    bad = event(key_source="nobody's")  # refused by a CHECK: only Postgres knows
    long = event(provider="".join(str(uuid4()) for _ in range(300)))  # too long for the rollup's index
    entries = [event() for _ in range(10)]
    entries[3:3], entries[7:7] = [bad], [long]
    bad_id, long_id = (await ledger.add(*entries))[3:8:4]
    await ledger.settle()
    assert len(await ledger.rows()) == 10
    letters = {row["entry_id"].encode(): row for row in await ledger.rows("dead_letters")}
    assert set(letters) == {bad_id, long_id}
    assert b"nobody's" in letters[bad_id]["payload"]
    assert letters[bad_id]["error"].startswith("23514")
    assert await ledger.pending() == 0
    assert ledger.metrics.counts["buried"] == 2
    await ledger.assert_sums()


async def test_what_can_be_seen_to_be_wrong_is_buried_without_trying(ledger, event):
    await ledger.add(
        b"no json",
        b'{"attempt_id": 1}',
        event(list_pusd=2**63, line_list_pusd=[2**63, 0]),
        event(at_ms=1),
        event(quantities=[1]),
        event(list_pusd=64),
        event(),
    )
    await ledger.redis.xadd(ledger.key, {"e": "no version"})
    await ledger.settle()
    assert len(await ledger.rows()) == 1
    assert len(await ledger.rows("dead_letters")) == 7
    assert ledger.metrics.counts["poison"] == 0
    assert await ledger.pending() == 0


async def test_nul_in_text_is_escaped_not_poison(ledger, event):
    await ledger.add(event(raw_usage='{"a":"\x00"}', end_user="a\x00b", error_code="\x00"))
    await ledger.settle()
    [row] = await ledger.rows()
    assert (row["raw_usage"], row["end_user"], row["error_code"]) == ('{"a":"\\u0000"}', "a\\u0000b", "\\u0000")
    assert await ledger.rows("dead_letters") == []


async def test_an_unknown_version_stays_pending_and_blocks_nothing(ledger, event):
    [kept] = await ledger.add(event(), version="2")
    await ledger.add(event())
    await ledger.settle()
    await ledger.add(event())
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    assert await ledger.rows("dead_letters") == []
    assert await ledger.pending() == 1
    assert ledger.metrics.last["unknown"] == 1
    [position] = await ledger.rows("ledger_positions")
    assert int(position["as_of"].timestamp() * 1000) <= int(kept.partition(b"-")[0])


async def test_as_of_stops_at_an_entry_that_is_left(ledger, event):
    await ledger.settle()
    seconds, _ = await ledger.redis.time()
    kept_ms = (seconds - 60) * 1000
    await ledger.redis.xadd(ledger.key, {"v": "2", "e": "x"}, id=f"{kept_ms}-0")
    await ledger.pool.execute("DELETE FROM ledger_positions")
    await ledger.add(event())
    for _ in range(2):
        await ledger.settle()
        [position] = await ledger.rows("ledger_positions")
        assert position["as_of"].timestamp() * 1000 == kept_ms


async def test_as_of_goes_no_further_than_what_is_read_again(ledger, event):
    """After a failover that lost commits the newest entry may be there and older ones not yet."""
    seconds, _ = await ledger.redis.time()
    times_ms = [(seconds - 60 + number) * 1000 for number in range(6)]
    for at_ms in times_ms:
        await ledger.redis.xadd(ledger.key, {"v": "1", "e": encode(event())}, id=f"{at_ms}-0")
    stream = ledger.another_stream(batch_entries=2)
    writer = ledger.another_writer(stream=stream)
    await ledger.settle(writer)
    await ledger.pool.execute("DELETE FROM ledger_positions")
    await ledger.add(event())
    stream.reread()
    for reached_ms in [0, *times_ms[1:4:2]]:
        await writer.step()
        [position] = await ledger.rows("ledger_positions")
        assert position["as_of"].timestamp() * 1000 == reached_ms
    await ledger.settle(writer)
    [position] = await ledger.rows("ledger_positions")
    assert position["as_of"].timestamp() * 1000 > times_ms[-1]


async def test_as_of_reaches_now_when_the_stream_is_drained(ledger, event):
    [entry_id] = await ledger.add(event())
    await ledger.settle()
    await ledger.settle()
    [position] = await ledger.rows("ledger_positions")
    seconds, micros = await ledger.redis.time()
    assert position["entry_id"].encode() == entry_id
    assert int(entry_id.partition(b"-")[0]) < position["as_of"].timestamp() * 1000 <= seconds * 1000 + micros / 1000


async def test_a_day_that_vanishes_again_and_again_buries_nothing(ledger, event, monkeypatch):
    async def lies(conn, days):
        return set(days)

    monkeypatch.setattr("proxy.ledger.partitions.store.ensure", lies)
    await ledger.add(event())
    with pytest.raises(StoreAway):
        await ledger.settle()
    assert await ledger.rows("dead_letters") == []
    assert await ledger.pending() == 1


class DiesBeforeAck(LedgerWriter):
    async def _acknowledge(self, ids):
        raise StoreAway("died between commit and XACK")


async def test_a_death_between_commit_and_ack_changes_nothing(ledger, event, abandoned):
    final = event()
    await ledger.add(abandoned(final))
    await ledger.settle()
    await ledger.add(final, event())
    with pytest.raises(StoreAway):
        await ledger.another_writer(DiesBeforeAck).step()
    assert await ledger.pending() == 2
    assert len(await ledger.rows()) == 2
    await ledger.settle(ledger.another_writer(stream=ledger.another_stream()))
    assert await ledger.pending() == 0
    assert await ledger.billed() == [("usage", 24), ("usage", 65), ("adjustment", 41)]
    await ledger.assert_sums()


async def test_a_writer_without_the_lock_reads_nothing(ledger, event):
    await ledger.add(event())
    other = ledger.another_writer(stream=ledger.another_stream())
    async with ledger.pool.acquire() as conn, conn.transaction():
        await conn.fetchval("SELECT pg_try_advisory_xact_lock($1, $2)", 1_819_305_063, 0)
        assert await other.step() == Busy()
        assert await ledger.redis.exists(ledger.key)
        assert await ledger.redis.xinfo_groups(ledger.key) == []
    assert await other.step() == Wrote(1, drained=False)


async def test_two_writers_at_once_write_each_entry_once(ledger, event, abandoned):
    finals = [event() for _ in range(120)]
    for final in finals:
        await ledger.add(abandoned(final), final) if final.attempt_id.int % 2 else await ledger.add(final)
    streams = [ledger.another_stream(batch_entries=10) for _ in range(2)]

    async def work(writer: LedgerWriter) -> int:
        idle = wrote = 0
        while idle < 3:
            step = await writer.step()
            match step:
                case Busy():
                    await asyncio.sleep(0)
                case Wrote(entries=entries, drained=drained):
                    wrote += entries
                    idle = idle + 1 if drained else 0
        return wrote

    await asyncio.gather(*(work(ledger.another_writer(stream=stream)) for stream in streams))
    assert len(await ledger.rows()) == 120
    assert await ledger.pending() == 0
    assert {row["outcome"] for row in await ledger.rows()} == {"ok"}
    await ledger.assert_sums()


async def test_what_a_dead_writer_had_read_is_taken_over(ledger, event):
    await ledger.settle()
    await ledger.add(event())
    await ledger.redis.xreadgroup("ledger", "writer", {ledger.key: ">"})  # and died
    await ledger.add(event())
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    assert await ledger.pending() == 0


async def test_lost_commits_are_read_again_after_postgres_was_away(ledger, event):
    """As a failover to a replica that lacks the last commits."""
    await ledger.add(event(), event())
    await ledger.settle()
    async with ledger.pool.acquire() as conn:
        for table in ("usage_events", "usage_hourly", "usage_daily", "ledger_positions"):
            await conn.execute(f"DELETE FROM {table}")
        await conn.execute("ALTER TABLE billing_events DISABLE TRIGGER ALL")
        await conn.execute("DELETE FROM billing_events")
        await conn.execute("ALTER TABLE billing_events ENABLE TRIGGER ALL")
    await ledger.settle()
    assert await ledger.rows() == []  # nothing tells it yet

    class Away(LedgerWriter):
        async def _open(self, conn):
            raise StoreAway("Postgres")

    with pytest.raises(StoreAway):
        await ledger.another_writer(Away).step()
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    await ledger.assert_sums()


async def test_a_broken_server_is_not_the_entries_fault(ledger, event):
    await ledger.settle()
    await ledger.add(event())
    await ledger.pool.execute("ALTER TABLE usage_hourly RENAME TO away")
    with pytest.raises(StoreAway, match="42P01"):
        await ledger.writer.step()
    assert await ledger.rows("dead_letters") == []
    assert await ledger.pending() == 1
    await ledger.writer.report_backlog()
    assert ledger.metrics.last["pending"] == 1
    await ledger.pool.execute("ALTER TABLE away RENAME TO usage_hourly")
    await ledger.settle()
    assert len(await ledger.rows()) == 1
    assert ledger.metrics.last["pending"] == 0


async def test_a_flushed_redis_is_a_new_beginning(ledger, event):
    first, second = event(), event()
    await ledger.add(first)
    await ledger.settle()
    await ledger.redis.flushall()
    await ledger.settle()
    await ledger.add(first, second)  # the gateways' ring
    await ledger.settle()
    assert len(await ledger.rows()) == 2
    await ledger.assert_sums()
