"""Promise 9: losing Redis or Postgres under load loses nothing that a surviving process still knows."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.promises.books import Books, audit, written
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import LEASE_S, House
from tests.promises.provider import Provider

MIX = (
    Ask("paced"), Ask("paced"), Ask("slow"), Ask("short"), Ask("short", stream=False), Ask("cached"), Ask("failing"), Ask("broken"),
    Ask("silent"), Ask("thinking", stream=False), Ask("slow", leave_after_s=1.0), Ask("paced", leave_after_s=0.3),
)  # fmt: skip
CLIENTS = 30


def busy_enough(books: Books) -> None:
    """The load was there and of every kind: else the comparisons before proved little."""
    outcomes = books.outcomes()
    assert all(outcomes[outcome] >= 5 for outcome in ("ok", "client_abort", "upstream_error")), outcomes
    assert sum(tried.end == "finished" for tried in books.tries) > 3 * CLIENTS


@pytest.mark.timeout(120)
async def test_valkey_killed(house: House, provider: Provider, crowd: Crowd) -> None:
    async def kill_twice() -> None:
        for _ in range(2):
            await asyncio.sleep(1.5)
            victim = await house.kill("valkey")
            await house.replaced("valkey", victim)
        await asyncio.sleep(1)

    await crowd.busy(CLIENTS, MIX, kill_twice)
    busy_enough(await audit(house, provider, crowd))


@pytest.mark.timeout(120)
async def test_valkey_flushed(house: House, provider: Provider, crowd: Crowd) -> None:
    """Holds, the stream, scripts and the shard's seed are gone at once, several times over."""

    async def flush_often() -> None:
        for pause_s in (2.0, 1.0, 0.05, 1.5):
            await asyncio.sleep(pause_s)
            with house.valkey() as valkey:
                valkey.flushall()
                valkey.script_flush()
        await asyncio.sleep(1)

    await crowd.busy(CLIENTS, MIX, flush_often)
    busy_enough(await audit(house, provider, crowd))


@pytest.mark.timeout(120)
async def test_what_was_settled_while_the_ledger_was_down_survives_a_flush(
    house: House, provider: Provider, crowd: Crowd
) -> None:
    """Only the gateways' rings know these events by then."""
    [worker] = house.signal("worker", signal.SIGSTOP)
    try:
        await asyncio.gather(*(crowd.ask(Ask("short")) for _ in range(40)))
        assert house.pending()["unread"] == 40
        with house.valkey() as valkey:
            valkey.flushall()
    finally:
        house.signal("worker", signal.SIGCONT)
    assert worker in house.pids("worker")
    await written(house, crowd, 40)
    books = await audit(house, provider, crowd)
    assert books.outcomes() == {"ok": 40}


@pytest.mark.timeout(120)
async def test_valkey_stalls_longer_than_a_lease(house: House, provider: Provider, crowd: Crowd) -> None:
    """The leases end, and nobody could have renewed them: a living gateway's attempts are not abandoned."""

    async def stall() -> None:
        for stalled_s in (LEASE_S + 1, LEASE_S + 2.5):  # within the gateways' deadline for an answer, and beyond it
            await asyncio.sleep(1.5)
            await house.nap("valkey", stalled_s)
        await asyncio.sleep(1)

    await crowd.busy(CLIENTS, MIX, stall)
    busy_enough(await audit(house, provider, crowd))


@pytest.mark.timeout(120)
async def test_postgres_killed(house: House, provider: Provider, crowd: Crowd) -> None:
    async def kill_twice() -> None:
        for _ in range(2):
            await asyncio.sleep(1.5)
            victim = await house.kill("postgres")
            await house.replaced("postgres", victim)
        await asyncio.sleep(1)

    await crowd.busy(CLIENTS, MIX, kill_twice)
    books = await audit(house, provider, crowd)
    busy_enough(books)
    # Known keys go on: not one request was refused because of it.
    assert not [tried for tried in crowd.tries if tried.refused], [t.body for t in crowd.tries if t.refused][:1]
