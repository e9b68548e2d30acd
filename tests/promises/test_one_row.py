"""Promise 1: every attempt leaves exactly one row, whichever process is killed at whatever instant."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from proxy.storage.postgres import connect
from tests.promises.books import audit, written
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import House, eventually
from tests.promises.provider import Provider

MIX = (Ask("slow"), Ask("slow"), Ask("paced"), Ask("short"), Ask("short", stream=False), Ask("thinking", stream=False))
QUICK = (Ask("short"), Ask("short", stream=False), Ask("cached"), Ask("failing"), Ask("broken"))


@pytest.mark.timeout(120)
async def test_gateway_killed_in_the_middle_of_streams(house: House, provider: Provider, crowd: Crowd) -> None:
    await crowd.ask(Ask("short"))
    doomed, other = house.pids("gateway")
    hit: list[str] = []
    spared: list[str] = []

    async def kill_one() -> None:
        await eventually(lambda: len(crowd.under_way()) >= 20, "many requests are under way")
        await asyncio.sleep(1)
        by_port = house.served_by()
        await house.kill("gateway", doomed)
        for tried in crowd.under_way():
            if tried.body and (pid := by_port.get(tried.port)):
                (hit if pid == doomed else spared).append(tried.label)
        await house.replaced("gateway", doomed, count=2)
        assert other in house.pids("gateway")
        await asyncio.sleep(2)

    await crowd.busy(30, MIX, kill_one)
    books = await audit(house, provider, crowd, killed_gateways=True)

    assert len(hit) >= 3 and len(spared) >= 3
    ends = {tried.label: tried.end for tried in crowd.tries}
    assert all(ends[label] == "finished" for label in spared), {label: ends[label] for label in spared}
    assert all(ends[label] == "cut" for label in hit), {label: ends[label] for label in hit}
    left_open = [label for label in hit if not books.billed[label].complete]
    assert left_open and all(books.rows[label]["outcome"] == "abandoned" for label in left_open)
    # And nobody else's: what the dead process had not answered is all that was cut.
    cut = {tried.label for tried in crowd.tries if tried.end == "cut"}
    assert {label for label, row in books.rows.items() if row["outcome"] == "abandoned"} <= cut


@pytest.mark.timeout(120)
async def test_gateway_killed_after_a_flush(house: House, provider: Provider, crowd: Crowd) -> None:
    """What it had in flight was announced twice, and Redis forgot the first time."""
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(crowd.ask(Ask("slow")))
        await eventually(lambda: house.pending()["holds"] == 20, "all are announced")
        with house.valkey() as valkey:
            valkey.flushall()
        await eventually(lambda: house.pending()["holds"] == 20, "all are announced again")
        for pid in house.pids("gateway"):
            await house.kill("gateway", pid)
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert books.outcomes() == {"abandoned": 20}


@pytest.mark.timeout(120)
async def test_gateway_killed_the_moment_a_client_has_its_end(house: House, provider: Provider, crowd: Crowd) -> None:
    """Redis does not answer and never will: what the client's end waited for is in the spool, which finds an heir."""
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(crowd.ask(Ask("paced")))
        await eventually(lambda: house.pending()["holds"] == 20, "all are announced")
        [valkey] = house.signal("valkey", signal.SIGSTOP)
        await eventually(lambda: any(tried.end for tried in crowd.tries), "one has ended", every_s=0.002)
        for pid in house.pids("gateway"):
            await house.kill("gateway", pid)
        await house.kill("valkey", valkey)  # or it would still read what they had sent it
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert any(tried.end == "finished" for tried in crowd.tries) and len(books.rows) == 20


@pytest.mark.timeout(120)
async def test_gateway_sleeps_through_its_leases(house: House, provider: Provider, crowd: Crowd) -> None:
    """Taken for dead, it comes back and finishes what was written off: rows become final, corrections say the difference."""
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(crowd.ask(Ask("slow")))
        await eventually(lambda: house.pending()["holds"] == 20, "all are announced")
        house.signal("gateway", signal.SIGSTOP)
        try:
            await written(house, crowd, 20)
        finally:
            house.signal("gateway", signal.SIGCONT)
    books = await audit(house, provider, crowd)
    assert books.outcomes() == {"ok": 20} and all(tried.end == "finished" for tried in crowd.tries)
    corrected = await house.query(
        """SELECT count(*) FROM billing_events c JOIN billing_events u ON u.id = c.corrects AND u.attempt_id = c.attempt_id
           WHERE c.kind = 'adjustment' AND u.kind = 'usage' AND c.attempt_id = ANY ($1)""",
        [row["attempt_id"] for row in books.rows.values()],
    )
    assert corrected[0][0] == 20


@pytest.mark.timeout(120)
async def test_worker_killed_at_random_moments(house: House, provider: Provider, crowd: Crowd) -> None:
    chance = random.Random(2)

    async def kill_often() -> None:
        for _ in range(5):
            victim = await house.kill("worker")
            await house.replaced("worker", victim)
            await asyncio.sleep(chance.uniform(0.1, 1.2))  # in its start, in its first batch, in the middle of work

    await crowd.busy(20, QUICK, kill_often)
    books = await audit(house, provider, crowd)
    assert len(books.rows) > 100
    assert all(tried.end != "cut" or tried.ask.llm == "broken" for tried in crowd.tries)


@pytest.mark.timeout(120)
async def test_worker_killed_before_its_commit(house: House, provider: Provider, crowd: Crowd) -> None:
    """Held up in its transaction, after the rows and before their billing events."""
    async with Obstacle(house) as obstacle:
        await asyncio.gather(*(crowd.ask(Ask("short")) for _ in range(20)))
        await obstacle.met()
        with house.valkey() as valkey:
            assert valkey.xinfo_groups("{s0}:usage")[0]["pending"] > 0  # type: ignore[index]
        await house.kill("worker")
    books = await audit(house, provider, crowd)
    assert len(books.rows) == 20


@pytest.mark.timeout(120)
async def test_worker_killed_after_its_commit(house: House, provider: Provider, crowd: Crowd) -> None:
    """Between commit and XACK: Valkey is stopped while the worker is in its transaction, and never reads the XACK."""
    repeated = house.metric("synapscale_ledger_entries_total", result="repeated")
    async with Obstacle(house) as obstacle:
        await asyncio.gather(*(crowd.ask(Ask("short")) for _ in range(20)))
        await obstacle.met()
        [valkey] = house.signal("valkey", signal.SIGSTOP)
    await written(house, crowd, 1)
    await house.kill("worker")
    await house.kill("valkey", valkey)
    books = await audit(house, provider, crowd)
    assert len(books.rows) == 20
    await eventually(
        lambda: house.metric("synapscale_ledger_entries_total", result="repeated") > repeated, "the batch came twice"
    )


class Obstacle:
    """While this lasts the ledger's transaction stops before its billing events, as any lock can make it do."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __aenter__(self) -> Obstacle:
        self._conn = await connect(self._house.database_url, application_name="obstacle")
        await self._conn.execute("BEGIN; LOCK TABLE billing_events IN EXCLUSIVE MODE")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._conn.close(timeout=5)

    async def met(self) -> None:
        waits = """SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                   WHERE NOT l.granted AND l.relation = 'billing_events'::regclass AND application_name LIKE '%worker'"""

        async def waiting() -> bool:
            return bool((await self._house.query(waits))[0][0])

        await eventually(waiting, "the worker waits for the lock", every_s=0.02)
