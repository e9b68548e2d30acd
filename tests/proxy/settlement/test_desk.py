"""An attempt from its announcement to its event, whatever Redis does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.holds.away import StoreAway
from proxy.settlement.spool_lines import Record
from proxy.storage.redis import open_redis
from tests.held import EPOCHS, SHARD, Seen, awaited, eventually, names, new_attempt
from tests.line import Line
from tests.own_valkey import OwnValkey
from tests.proxy.settlement.house import House, house_at


@pytest.fixture
async def house(line: Line, tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(line.redis_url, tmp_path / "spool") as house:
        await house.holds.seed(SHARD, "gen-1", EPOCHS)
        yield house
        line.accept()
        line.resume()


async def drained(house: House) -> None:
    """The spool is empty again; `tick` comes as often as a test can wait for."""
    await eventually(lambda: house.bus.connected and house.spool.waiting_bytes == 0 or house.desk.tick())


async def records_of(house: House) -> list[Record]:
    batch = await house.spool.read(10_000)
    return batch.records if batch else []


# the normal path


async def test_an_attempt_is_in_flight_from_its_announcement_to_its_event(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    assert list(house.desk.in_flight) == [attempt_id]
    assert list(await seen.holds()) == [attempt_id]
    await house.settle(attempt_id)
    assert not house.desk.in_flight
    assert await seen.holds() == {}
    assert await seen.outcomes() == {attempt_id: [("ok", False)]}
    assert house.spool.waiting_bytes == 0


async def test_two_calls_to_redis_per_attempt(house: House, seen: Seen) -> None:
    async def calls() -> int:
        stats = await seen.redis.info("commandstats")
        return int(stats["cmdstat_evalsha"]["calls"])

    await house.settle(await house.opened())
    before = await calls()
    await asyncio.gather(*(one(house) for _ in range(50)))
    assert await calls() - before == 100


async def one(house: House) -> None:
    await house.settle(await house.opened())


async def test_no_task_and_no_timer_per_attempt(house: House) -> None:
    attempts = [await house.opened() for _ in range(20)]
    tasks = len(asyncio.all_tasks())
    done = [house.settling(attempt_id) for attempt_id in attempts]
    assert len(asyncio.all_tasks()) == tasks
    await asyncio.gather(*done)


async def test_the_event_is_sent_when_settle_is_called_and_not_when_it_is_awaited(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    done = house.settling(attempt_id)
    await awaited(seen.entries)
    await done


async def test_stale_is_answered_and_nothing_is_in_flight(house: House, seen: Seen) -> None:
    reply = await house.open(new_attempt(), epochs=(3, 7))
    assert (reply.kind, reply.workspace_epoch, reply.global_epoch) == ("stale", 4, 7)
    assert not house.desk.in_flight
    assert await seen.holds() == {}


async def test_void_leaves_no_event(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    house.desk.void(attempt_id)
    await eventually(lambda: not house.desk._voids.waiting)
    assert not house.desk.in_flight
    assert await seen.holds() == {}
    assert await seen.entries() == []


async def test_settling_what_is_not_in_flight_is_a_bug(house: House) -> None:
    attempt_id = await house.opened()
    await house.settle(attempt_id)
    with pytest.raises(KeyError):
        house.settling(attempt_id)


async def test_the_clock_follows_redis(line: Line, seen: Seen, tmp_path: Path) -> None:
    async with house_at(line.redis_url, tmp_path / "spool") as house:
        house.desk._clock._ahead_ms += 3_600_000
        house.desk._set_clock()
        await asyncio.sleep(0)
        await house.holds.time_ms()
        before = await seen.now_ms()
        assert before - 1_000 <= house.desk._clock.now_ms() <= before + 1_000


# cold


async def test_a_cold_shard_is_told_what_is_in_flight_and_waited_for(house: House, seen: Seen) -> None:
    settled, in_flight = await house.opened(), await house.opened()
    await house.settle(settled)
    await seen.redis.flushall()
    opening = asyncio.get_running_loop().create_task(house.open(new_attempt()))
    await awaited(seen.holds)  # the worker sees the live holds and the events before it seeds
    await awaited(seen.entries)
    assert not opening.done()
    assert in_flight in await seen.holds()
    assert await seen.outcomes() == {settled: [("ok", True)]}
    await house.holds.seed(SHARD, "gen-2", EPOCHS)
    assert (await opening).kind == "held"
    assert len(await seen.holds()) == 2


async def test_many_that_meet_a_cold_shard_wait_for_one_seeding(house: House, seen: Seen) -> None:
    await seen.redis.delete(f"{{s{SHARD}}}:gen")
    opening = [asyncio.get_running_loop().create_task(house.open(new_attempt())) for _ in range(100)]
    await eventually(lambda: house.desk._recovery._warming)
    assert len(house.desk._recovery._warming) == 1
    await house.holds.seed(SHARD, "gen-2", EPOCHS)
    assert {reply.kind for reply in await asyncio.gather(*opening)} == {"held"}


async def test_a_shard_that_nobody_seeds_takes_no_attempts(line: Line, seen: Seen, tmp_path: Path) -> None:
    async with house_at(line.redis_url, tmp_path / "spool", seed_wait_s=0.2) as house:
        with pytest.raises(StoreAway, match="cold"):
            await house.open(new_attempt())
        assert not house.desk.in_flight
        assert await seen.holds() == {}


# an announcement in doubt


async def test_an_admit_that_was_not_answered_is_taken_back_at_the_next_connection(
    house: House, seen: Seen, line: Line
) -> None:
    await house.opened()
    line.cut_after(reply_bytes=3)
    attempt_id = new_attempt()
    with pytest.raises(StoreAway):
        await house.open(attempt_id)
    assert attempt_id not in house.desk.in_flight
    await eventually(lambda: not house.desk._voids.waiting)
    assert attempt_id not in await seen.holds()
    assert await seen.redis.exists(f"{{s{SHARD}}}:swept:{attempt_id.hex}")
    assert await seen.entries() == []


async def test_while_redis_is_away_attempts_are_refused_at_once(house: House, line: Line) -> None:
    line.refuse()
    await eventually(lambda: not house.bus.connected)
    with pytest.raises(StoreAway):
        await house.open(new_attempt())
    assert not house.desk._voids.waiting  # nothing was sent, so nothing is to be taken back


# settling while Redis is away


async def test_a_settle_over_its_deadline_is_in_the_spool_before_the_client_is_released(
    house: House, seen: Seen, line: Line
) -> None:
    attempt_id = await house.opened()
    line.stall()
    await house.settle(attempt_id)
    records = await records_of(house)
    assert [(record.shard, record.attempt_id) for record in records] == [(SHARD, attempt_id)]
    assert b'"outcome":"ok"' in records[0].event
    assert records[0].event in house.spool.path.read_bytes()
    line.resume()
    await drained(house)
    # Redis had read the settle before the stall ended, or not: once at least, and the ledger keeps one.
    outcomes = await seen.outcomes()
    assert {outcome for outcome, _ in outcomes[attempt_id]} == {"ok"}
    assert await seen.holds() == {}
    assert house.spool.path.read_bytes() == b""


async def test_a_settle_that_is_away_goes_to_the_spool_and_back_when_redis_is(
    house: House, seen: Seen, line: Line
) -> None:
    attempts = [await house.opened() for _ in range(300)]
    line.refuse()
    await eventually(lambda: not house.bus.connected)
    await asyncio.gather(*map(house.settle, attempts))
    assert [record.attempt_id for record in await records_of(house)] == attempts
    line.accept()
    await drained(house)
    assert await seen.outcomes() == {attempt_id: [("ok", False)] for attempt_id in attempts}
    assert list(await seen.outcomes()) == attempts  # in order
    assert len(house.ring) == 300


async def test_a_settle_whose_answer_was_cut_is_sent_again(house: House, seen: Seen, line: Line) -> None:
    attempt_id = await house.opened()
    line.cut_after(reply_bytes=2)
    await house.settle(attempt_id)
    await drained(house)
    assert await seen.outcomes() == {attempt_id: [("ok", False), ("ok", True)]}


async def test_a_client_that_leaves_while_its_event_is_under_way_does_not_stop_it(
    house: House, seen: Seen, line: Line
) -> None:
    answered, spooled = await house.opened(), await house.opened()
    done = house.settling(answered)
    done.cancel()
    await eventually(lambda: len(house.ring) == 1)
    line.stall()
    done = house.settling(spooled)
    done.cancel()
    await eventually(lambda: house.spool.waiting_bytes)
    line.resume()
    await drained(house)
    assert set(await seen.outcomes()) == {answered, spooled}


async def test_a_frozen_valkey_longer_than_the_deadline(own_valkey: OwnValkey, tmp_path: Path) -> None:
    async with house_at(own_valkey.url, tmp_path / "spool") as house:
        await house.holds.seed(SHARD, "gen-1", EPOCHS)
        attempts = [await house.opened() for _ in range(20)]
        own_valkey.freeze()
        await asyncio.gather(*map(house.settle, attempts))
        assert [record.attempt_id for record in await records_of(house)] == attempts
        own_valkey.thaw()
        await drained(house)
        seen = Seen(open_redis(own_valkey.url))
        try:
            outcomes = await seen.outcomes()
            assert set(outcomes) == set(attempts)
            assert all(not found[0][1] and all(late for _, late in found[1:]) for found in outcomes.values())
            assert await seen.holds() == {}
        finally:
            await seen.redis.aclose()


async def test_a_killed_valkey_that_comes_back(own_valkey: OwnValkey, tmp_path: Path) -> None:
    async with house_at(own_valkey.url, tmp_path / "spool") as house:
        await house.holds.seed(SHARD, "gen-1", EPOCHS)
        settled_before, settled_during, settled_after = [await house.opened() for _ in range(3)]
        await house.settle(settled_before)
        own_valkey.kill()
        await house.settle(settled_during)
        own_valkey.restart()
        await drained(house)
        await house.settle(settled_after)
        seen = Seen(open_redis(own_valkey.url))
        try:
            await eventually(lambda: house.desk._recovery._telling is None or house.desk._recovery._telling.done())
            outcomes = await seen.outcomes()
            assert set(outcomes) == {settled_before, settled_during, settled_after}
            assert {found[0] for found in outcomes.values()} == {("ok", False)}
            assert await seen.holds() == {}
        finally:
            await seen.redis.aclose()


# memory


async def test_when_redis_is_nearly_full_settles_wait_in_the_spool(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    house.bus.memory_ratio = 0.75
    await house.settle(attempt_id)
    assert await seen.entries() == []
    assert [record.attempt_id for record in await records_of(house)] == [attempt_id]
    house.desk.tick()
    await asyncio.sleep(0.1)
    house.bus.memory_ratio = 0.75
    assert await house.opened()
    house.bus.memory_ratio = 0.9
    with pytest.raises(StoreAway, match="full"):
        await house.open(new_attempt())
    house.bus.memory_ratio = 0.1
    house.desk.tick()
    await drained(house)
    assert await seen.outcomes() == {attempt_id: [("ok", False)]}


async def test_a_full_spool_is_an_alarm_and_the_event_is_kept_in_memory(
    line: Line, seen: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house_at(line.redis_url, tmp_path / "spool", spool_bytes=1_500) as house:
        await house.holds.seed(SHARD, "gen-1", EPOCHS)
        attempts = [await house.opened() for _ in range(5)]
        line.refuse()
        await eventually(lambda: not house.bus.connected)
        with caplog.at_level(logging.CRITICAL):
            await asyncio.gather(*map(house.settle, attempts))
        assert "is full" in caplog.text
        assert b'synapscale_bugs_total{where="spool_refused"}' in house.metrics.render()
        line.accept()
        await eventually(lambda: house.bus.connected)
        await drained(house)
        await eventually(lambda: not house.desk._recovery._only_in_memory)
        assert set(await seen.outcomes()) == set(attempts)


# the end


async def test_close_settles_what_is_left_as_abandoned(house: House, seen: Seen) -> None:
    attempt_id, on_its_way = await house.opened(), await house.opened()
    done = house.settling(on_its_way)
    await house.close()
    assert done.done()
    assert await seen.outcomes() == {on_its_way: [("ok", False)], attempt_id: [("abandoned", False)]}
    assert await seen.holds() == {}
    assert names(house.folder) == []
    with pytest.raises(StoreAway, match="closing"):
        await house.open(new_attempt())


async def test_close_while_redis_is_away_leaves_a_spool_to_adopt(
    house: House, seen: Seen, line: Line, redis_url: str
) -> None:
    open_still, settled, in_doubt = await house.opened(), await house.opened(), new_attempt()
    line.cut_after(reply_bytes=1)
    with pytest.raises(StoreAway):
        await house.open(in_doubt)
    line.refuse()
    await house.settle(settled)
    await house.close(grace_s=0.3)
    assert len(names(house.folder)) == 1
    assert in_doubt in await seen.holds() or in_doubt not in await seen.outcomes()
    house.worker_url = redis_url
    assert await house.adopt() == 3
    assert names(house.folder) == []
    outcomes = await seen.outcomes()
    assert {attempt_id: {outcome for outcome, _ in found} for attempt_id, found in outcomes.items()} == {
        settled: {"ok"}, open_still: {"abandoned"},
    }  # fmt: skip
    assert await seen.holds() == {}  # of the one in doubt nothing was sent: taken back, no event


async def test_close_empties_the_spool_into_redis_if_it_can(house: House, seen: Seen, line: Line) -> None:
    attempt_id = await house.opened()
    house.bus.memory_ratio = 0.75
    await house.settle(attempt_id)
    house.bus.memory_ratio = 0.1
    await house.close()
    assert names(house.folder) == []
    assert await seen.outcomes() == {attempt_id: [("ok", False)]}
