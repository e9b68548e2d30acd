"""The consumer group: what is read, what stays, what goes."""

from __future__ import annotations

import asyncio

import pytest

from proxy.ledger.stream import StreamAway, UsageStream
from proxy.storage.redis import open_redis


async def test_pending_comes_before_new_and_kept_is_left_alone(ledger, event):
    stream = ledger.stream
    await stream.read()
    ids = await ledger.add(event(), event())
    assert [entry.id for entry in (await stream.read()).entries] == ids
    later = await ledger.add(event())
    assert [entry.id for entry in (await stream.read()).entries] == ids, "not acknowledged: again"
    stream.keep(ids[:1])
    await stream.ack(ids[1:])
    assert [entry.id for entry in (await stream.read()).entries] == later
    await stream.ack(later)
    reading = await stream.read()
    assert reading.entries == []
    assert reading.drained
    assert stream.kept == 1


async def test_kept_entries_that_another_writer_took_are_forgotten(ledger, event):
    first, second = await ledger.add(event(), event(), version="2")
    await ledger.stream.read()
    ledger.stream.keep([first, second])
    await ledger.another_stream().ack([first])
    assert (await ledger.stream.read()).entries == []
    assert ledger.stream.kept == 1


async def test_a_page_of_kept_entries_does_not_hide_what_is_behind(ledger, event):
    stream = ledger.another_stream(batch_entries=2)
    kept = await ledger.add(*[event() for _ in range(5)], version="2")
    while not (reading := await stream.read()).drained:
        stream.keep([entry.id for entry in reading.entries])
    stream.keep([entry.id for entry in reading.entries])
    [fresh] = await ledger.add(event())
    assert [entry.id for entry in (await ledger.another_stream().read()).entries] == kept, "another one sees them all"
    await ledger.redis.xreadgroup("ledger", "writer", {ledger.key: ">"})
    assert [entry.id for entry in (await stream.read()).entries] == [fresh]


async def test_an_entry_deleted_before_it_was_read_is_handed_out_empty(ledger, event):
    [entry_id] = await ledger.add(event())
    await ledger.stream.read()
    await ledger.redis.xdel(ledger.key, entry_id)
    [entry] = (await ledger.another_stream().read()).entries
    assert (entry.version, entry.event) == (None, None)


async def test_wait_takes_nothing_and_ends_with_an_entry(ledger, event):
    await ledger.stream.read()
    waiting = asyncio.create_task(ledger.stream.wait(4000))
    await asyncio.sleep(0)
    await ledger.add(event())
    assert await waiting is True
    assert await ledger.pending() == 0
    entries = (await ledger.stream.read()).entries
    await ledger.stream.ack([entry.id for entry in entries])
    assert await ledger.stream.wait(1) is False


async def test_two_idle_writers_do_not_wake_each_other_for_ever(ledger, event):
    other = ledger.another_stream()
    await other.read()
    await ledger.add(event())
    await ledger.stream.ack([entry.id for entry in (await ledger.stream.read()).entries])
    assert await other.wait(1) is True
    assert (await other.read()).entries == []
    assert await other.wait(1) is False


async def reread_all(stream: UsageStream) -> list[bytes]:
    ids: list[bytes] = []
    while stream.reread_ms is not None:
        page = await stream.reread_page()
        ids += [entry.id for entry in page]
        stream.reread_done(page)
    return ids


async def test_the_window_is_read_again_page_by_page_up_to_what_was_delivered(ledger, event):
    stream = ledger.another_stream(batch_entries=2)
    await stream.read()
    assert await reread_all(stream) == []
    ids = await ledger.add(*[event() for _ in range(5)])
    for _ in range(3):
        await stream.ack([entry.id for entry in (await stream.read()).entries])
    await ledger.add(event())  # not delivered yet: it will come by itself
    stream.reread()
    assert await reread_all(stream) == ids
    assert await reread_all(stream) == []


async def fill(ledger, event, count: int) -> list[bytes]:
    """Ids of long ago, so that the retention window is over."""
    ids = [b"%d-0" % number for number in range(1, count + 1)]
    for entry_id in ids:
        await ledger.redis.xadd(ledger.key, {"v": "1", "e": "x"}, id=entry_id)
    return ids


async def test_trim_drops_what_is_old_and_acknowledged(ledger, event):
    ids = await fill(ledger, event, 500)
    stream = ledger.another_stream()
    await stream.read()
    await stream.ack(ids)
    assert await stream.trim() == 0, "not before all was read again"
    await reread_all(stream)
    assert await stream.trim() >= 300
    assert await ledger.redis.xlen(ledger.key) <= 200


@pytest.mark.parametrize("unacknowledged", [0, 250])
async def test_trim_never_drops_what_is_pending(ledger, event, unacknowledged):
    ids = await fill(ledger, event, 500)
    stream = ledger.another_stream()
    await stream.read()
    await reread_all(stream)
    await stream.ack(ids[:unacknowledged] + ids[unacknowledged + 1 :])
    await stream.trim()
    [entry] = (await stream.read()).entries
    assert entry.id == ids[unacknowledged]
    assert entry.event == b"x"


async def test_trim_never_drops_what_was_not_delivered(ledger, event):
    ids = await fill(ledger, event, 500)
    stream = ledger.another_stream(batch_entries=10)
    await stream.ack([entry.id for entry in (await stream.read()).entries])
    await reread_all(stream)
    await stream.trim()
    rest = []
    while True:
        reading = await stream.read()
        rest += [entry.id for entry in reading.entries]
        await stream.ack([entry.id for entry in reading.entries])
        if reading.drained:
            break
    assert rest == ids[10:]


async def test_trim_keeps_the_window(ledger, event):
    ids = await ledger.add(*[event() for _ in range(300)])
    stream = ledger.another_stream()
    await stream.ack([entry.id for entry in (await stream.read()).entries])
    await reread_all(stream)
    assert await stream.trim() == 0
    assert await ledger.redis.xlen(ledger.key) == len(ids)


async def test_backlog_names_the_oldest_entry_outside(ledger, event):
    assert (await ledger.stream.backlog()).oldest_ms is None
    [first] = await ledger.add(event())
    backlog = await ledger.stream.backlog()
    assert (backlog.pending, backlog.oldest_ms) == (0, int(first.partition(b"-")[0]))
    await ledger.stream.read()
    await ledger.add(event())
    backlog = await ledger.stream.backlog()
    assert (backlog.pending, backlog.oldest_ms) == (1, int(first.partition(b"-")[0]))


async def test_a_lost_group_begins_at_the_first_entry(ledger, event):
    [entry_id] = await ledger.add(event())
    await ledger.stream.ack([entry.id for entry in (await ledger.stream.read()).entries])
    await ledger.redis.xgroup_destroy(ledger.key, "ledger")
    assert [entry.id for entry in (await ledger.stream.read()).entries] == [entry_id]


async def test_redis_away_is_one_error(tmp_path):
    async with open_redis(f"unix://{tmp_path}/none.sock", retries=0) as redis:
        stream = UsageStream(redis, "{s0}:usage")
        for call in (stream.read(), stream.wait(1), stream.ack([b"1-0"]), stream.backlog()):
            with pytest.raises(StreamAway):
                await call
