"""What a process tells Redis again after it was away, flushed or failed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.holds.away import StoreAway
from tests.held import EPOCHS, SHARD, WORKSPACE, Seen, eventually, names, new_attempt
from tests.line import Line
from tests.proxy.settlement.house import House, house_at


@pytest.fixture
async def house(line: Line, tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(line.redis_url, tmp_path / "spool", renew_after_s=0.0) as house:
        await house.holds.seed(SHARD, "gen-1", EPOCHS)
        yield house
        line.accept()
        line.resume()


async def told(house: House) -> None:
    """All that is due was told."""
    recovery = house.desk._recovery
    await asyncio.sleep(0.05)  # for answers to what was asked
    await eventually(lambda: not recovery._due and (recovery._telling is None or recovery._telling.done()))


async def lose_everything(house: House, seen: Seen) -> None:
    """A failover to an empty node that the worker seeded before any gateway noticed."""
    await seen.redis.flushall()
    await house.holds.seed(SHARD, "gen-2", EPOCHS)


async def test_another_gen_is_noticed_and_everything_is_told_again(house: House, seen: Seen) -> None:
    settled, in_flight = await house.opened(), await house.opened()
    await house.settle(settled)
    house.desk.tick()
    await told(house)
    await lose_everything(house, seen)
    house.desk._renew_after_s = 1_000  # not by renewing
    house.desk.tick()
    await told(house)
    assert list(await seen.holds()) == [in_flight]
    assert await seen.outcomes() == {settled: [("ok", True)]}


async def test_a_missing_gen_is_noticed_too(house: House, seen: Seen) -> None:
    in_flight = await house.opened()
    house.desk.tick()
    await told(house)
    await seen.redis.flushall()
    house.desk._renew_after_s = 1_000
    house.desk.tick()
    await told(house)
    assert list(await seen.holds()) == [in_flight]


async def test_holds_that_are_missing_at_a_renewal_are_announced_again(house: House, seen: Seen) -> None:
    """A replica that lacks the last second was promoted: same gen, same epochs."""
    settled, in_flight = await house.opened(), await house.opened()
    await house.settle(settled)
    await seen.redis.delete(f"{{s{SHARD}}}:holds", f"{{s{SHARD}}}:usage")
    house.desk.tick()
    await told(house)
    await eventually(lambda: house.desk.in_flight)
    assert list(await seen.holds()) == [in_flight]
    assert await seen.outcomes() == {settled: [("ok", True)]}


async def test_a_new_connection_tells_everything_again(house: House, seen: Seen, line: Line) -> None:
    settled, in_flight = await house.opened(), await house.opened()
    await house.settle(settled)
    await seen.redis.delete(f"{{s{SHARD}}}:holds", f"{{s{SHARD}}}:usage")
    house.desk._renew_after_s = 1_000
    line.cut()
    await eventually(lambda: line.connections == 2 and house.bus.connected)
    await told(house)
    assert list(await seen.holds()) == [in_flight]
    assert await seen.outcomes() == {settled: [("ok", True)]}


async def test_more_than_one_pipeline_is_told(house: House, seen: Seen) -> None:
    attempts = await asyncio.gather(*(house.opened() for _ in range(900)))
    await asyncio.gather(*map(house.settle, attempts[:450]))
    await seen.redis.flushall()
    house.desk.on_reconnect()
    await told(house)
    assert set(await seen.holds()) == set(attempts[450:])
    assert {attempt_id: [("ok", True)] for attempt_id in attempts[:450]} == await seen.outcomes()


async def test_settled_while_the_telling_goes_on_leaves_no_hold(house: House, seen: Seen) -> None:
    attempts = await asyncio.gather(*(house.opened() for _ in range(700)))
    house.desk.on_reconnect()
    await asyncio.sleep(0)
    await asyncio.gather(*map(house.settle, reversed(attempts)))
    await told(house)
    assert await seen.holds() == {}
    assert {found[0] for found in (await seen.outcomes()).values()} == {("ok", False)}


async def test_telling_that_is_cut_short_begins_again(house: House, seen: Seen, line: Line) -> None:
    attempts = await asyncio.gather(*(house.opened() for _ in range(900)))
    await seen.redis.flushall()
    line.cut_after(reply_bytes=4_000)
    house.desk.on_reconnect()
    await eventually(lambda: line.connections == 2 and house.bus.connected)
    house.desk.tick()
    await told(house)
    assert set(await seen.holds()) == set(attempts)


async def test_swept_here_stays_in_flight_here_and_settles_late(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    value = await seen.redis.hget(f"{{s{SHARD}}}:holds", attempt_id.hex)
    await seen.redis.hset(f"{{s{SHARD}}}:holds", attempt_id.hex, b"5|" + value.split(b"|", 1)[1])
    await house.holds.sweep(SHARD)
    house.desk.tick()
    await told(house)
    assert house.desk.in_flight[attempt_id].swept
    renewals = (await seen.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    house.desk.tick()
    await told(house)
    assert (await seen.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == renewals  # left in peace
    await house.settle(attempt_id)
    assert await seen.outcomes() == {attempt_id: [("abandoned", False), ("ok", True)]}


async def test_leases_are_renewed_when_due_and_epochs_are_told(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    await seen.redis.set(f"{{s{SHARD}}}:epoch:{WORKSPACE.hex}", 9)
    lease_end = (await seen.holds())[attempt_id][0]
    await asyncio.sleep(0.02)
    house.desk.tick()
    await eventually(lambda: house.told)
    assert house.told == [(WORKSPACE, 9, 7)]
    assert (await seen.holds())[attempt_id][0] > lease_end


async def test_young_attempts_are_not_renewed(house: House) -> None:
    await house.opened()
    house.desk._renew_after_s = 30
    house.desk.tick()
    await told(house)
    assert house.told == []


async def test_a_renewal_that_failed_is_repeated(house: House, line: Line) -> None:
    await house.opened()
    house.desk._renew_after_s = 30
    next(iter(house.desk.in_flight.values())).renewed_at_s -= 31
    line.cut_after(reply_bytes=1)
    house.desk.tick()
    await eventually(lambda: line.connections == 2 and house.bus.connected)
    await eventually(lambda: house.told or house.desk.tick())


async def test_an_event_that_settles_on_a_flushed_redis_is_late_and_there(house: House, seen: Seen) -> None:
    attempt_id = await house.opened()
    await seen.redis.flushall()
    await house.settling(attempt_id)
    assert await seen.outcomes() == {attempt_id: [("ok", True)]}


async def test_telling_that_redis_refuses_is_tried_again(house: House, seen: Seen) -> None:
    in_flight = await house.opened()
    house.desk._renew_after_s = 1_000
    await seen.redis.delete(f"{{s{SHARD}}}:holds")
    await seen.redis.config_set("maxmemory", "1")
    try:
        house.desk.on_reconnect()
        telling = house.desk._recovery._telling
        assert telling is not None
        await telling
        assert await seen.holds() == {}
    finally:
        await seen.redis.config_set("maxmemory", "256mb")
    house.desk.tick()
    await told(house)
    assert list(await seen.holds()) == [in_flight]


async def test_who_is_announced_while_the_desk_closes_is_taken_back(house: House, seen: Seen, line: Line) -> None:
    line.stall()
    attempt_id = new_attempt()
    opening = asyncio.get_running_loop().create_task(house.open(attempt_id))
    await asyncio.sleep(0.05)
    house.desk._closed = True
    line.resume()
    with pytest.raises(StoreAway, match="closing"):
        await opening
    await eventually(lambda: not house.desk._voids.waiting)
    assert await seen.holds() == {}
    assert not house.desk.in_flight


async def test_closing_while_it_tells_again_forgets_nothing(house: House, seen: Seen, line: Line) -> None:
    attempts = await asyncio.gather(*(house.opened() for _ in range(900)))
    await asyncio.gather(*map(house.settle, attempts))
    await seen.redis.flushall()
    line.delay_s = 0.02  # several pipelines, each with a way to go
    house.desk.on_reconnect()
    await asyncio.sleep(0.01)
    await house.close(grace_s=10)
    assert set(await seen.outcomes()) == set(attempts)
    assert names(house.folder) == []


async def test_closing_while_redis_is_away_leaves_the_ring_to_whoever_adopts_the_spool(
    house: House, seen: Seen, line: Line, redis_url: str
) -> None:
    """The server that comes back may be one that never got the last second."""
    attempts = [await house.opened() for _ in range(5)]
    await asyncio.gather(*map(house.settle, attempts))
    line.refuse()
    await eventually(lambda: not house.bus.connected)
    await house.close(grace_s=0.2)
    await seen.redis.flushall()
    house.worker_url = redis_url
    assert await house.adopt() == 5
    assert await seen.outcomes() == {attempt_id: [("ok", True)] for attempt_id in attempts}
