"""Stopping leaves nothing behind: streams finish or are told, rows are complete, no process stays (DESIGN 7 and 9)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.books import audit
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import House, eventually, living
from tests.promises.process_tree import alive, command_line, everybody
from tests.promises.provider import Provider, config

GRACE_S = 4
MIX = [Ask("slow"), Ask("paced"), Ask("short"), Ask("thinking", stream=False), Ask("endless")] * 6


@pytest.fixture
def house(tmp_path: Path, provider: Provider) -> Iterator[House]:
    """One of its own for each test."""
    env = {"SYNAPSCALE_SERVER__SHUTDOWN_GRACE_S": str(GRACE_S)}
    with living(tmp_path, config(provider.base_url), env=env) as house:
        yield house


async def under_way(crowd: Crowd, group: asyncio.TaskGroup) -> None:
    """Requests of all kinds, in the middle of their answers."""
    for what in MIX:
        group.create_task(crowd.ask(what))
    await eventually(lambda: len(crowd.tries) == len(MIX) and all(tried.port for tried in crowd.tries), "all have asked")
    await asyncio.sleep(0.7)


async def stopped(house: House, crowd: Crowd, signals: list[signal.Signals]) -> int:
    """The exit status of serve, which gets the signals while requests are under way. No process is left."""
    assert house.process is not None
    async with asyncio.TaskGroup() as group:
        await under_way(crowd, group)
        everything = house.pids_of_all()
        assert len(everything) > 5
        for number in signals:
            house.process.send_signal(number)
            await asyncio.sleep(0.5)
    status = await asyncio.to_thread(house.process.wait, 60)
    await gone(everything)
    assert not (house.data / "running.json").exists()
    left = [pid for pid in everybody() if str(house.folder) in command_line(pid)]
    assert not left, [command_line(pid) for pid in left]
    return status


async def gone(pids: list[int]) -> None:
    await eventually(lambda: not [pid for pid in pids if alive(pid)], "every process has ended", 60)


@pytest.mark.timeout(120)
async def test_asked_to_stop_in_the_middle_of_streams(house: House, provider: Provider, crowd: Crowd) -> None:
    assert await stopped(house, crowd, [signal.SIGTERM]) == 0, house.tail()
    for tried in crowd.tries:
        expected = "error_event" if tried.ask.llm == "endless" else "finished"
        assert tried.end == expected, f"{tried.ask.llm} ended as {tried.end}: {tried.body[-300:]!r}\n{house.tail()}"
        assert (b"shutting_down" in tried.body) == (tried.ask.llm == "endless")
    assert not [path for path in (house.data / "spool").iterdir() if path.stat().st_size], "everything was settled"

    house.start()  # to look at the books
    assert house.pending() == {"holds": 0, "pending": 0, "unread": 0, "spooled": 0}
    books = await audit(house, provider, crowd)
    assert len(books.rows) == len(MIX)


@pytest.mark.timeout(120)
async def test_asked_twice(house: House, provider: Provider, crowd: Crowd) -> None:
    """In a hurry: streams are cut, told so and settled before the grace is over."""
    assert await stopped(house, crowd, [signal.SIGTERM, signal.SIGTERM]) == 0
    assert "killed" not in house.tail()
    house.start()
    assert house.pending() == {"holds": 0, "pending": 0, "unread": 0, "spooled": 0}
    books = await audit(house, provider, crowd)
    assert len(books.rows) == len(MIX) and "abandoned" not in books.outcomes()


@pytest.mark.timeout(120)
async def test_killed_and_started_again_at_once(house: House, provider: Provider, crowd: Crowd) -> None:
    """Nobody is there to stop the others in order: they end by themselves, and their successors wait for their folder."""
    assert house.process is not None
    async with asyncio.TaskGroup() as group:
        await under_way(crowd, group)
        everything = house.pids_of_all()
        house.process.kill()
        house.process.wait()
        await asyncio.to_thread(house.until_up, house.launch())
        await crowd.insist(Ask("short"))
    await gone(everything)
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert len(books.rows) >= len(MIX)
