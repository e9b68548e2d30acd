"""Promises 1 and 9 together: half a minute in which everything is killed or stopped at random, and clients leave as they like."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.books import audit
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import LEASE_S, House, Role, living
from tests.promises.provider import Provider, config

MIX = (
    *(Ask("paced"), Ask("slow"), Ask("slow"), Ask("short"), Ask("short", stream=False), Ask("cached"), Ask("thinking", stream=False)),
    *(Ask("failing"), Ask("broken"), Ask("silent"), Ask("slow", leave_after_s=1.5), Ask("paced", leave_after_s=0.2)),
    *(Ask("thinking", stream=False, leave_after_s=0.4), Ask("endless", leave_after_s=0.5)),
)
FOR_S = 30.0
SEED = 20


@pytest.fixture
def house(tmp_path: Path, provider: Provider) -> Iterator[House]:
    """One of its own: who was killed so often comes back ever more slowly."""
    with living(tmp_path, config(provider.base_url)) as house:
        yield house


@pytest.mark.timeout(180)
async def test_half_a_minute_of_chaos(house: House, provider: Provider, crowd: Crowd) -> None:
    done: Counter[str] = Counter()

    async def kill(role: Role) -> None:
        for pid in house.pids(role)[:1]:
            await house.kill(role, pid)

    async def kill_while_valkey_naps() -> None:
        """What it settled lately is in its spool alone."""
        napping = asyncio.create_task(house.nap("valkey", 1.5))
        await asyncio.sleep(1)
        await kill("gateway")
        await napping

    async def monkey(roles: tuple[Role | None, ...], pause_s: float, seed: int, until: float) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            role = chance.choice(roles)
            how = chance.choice(("kill", "kill", "nap"))
            done[f"{how} {role}"] += 1
            if role is None:
                await kill_while_valkey_naps()
            elif how == "nap":
                await house.nap(role, chance.choice((0.3, 1.0, LEASE_S + 2)))
            else:
                await kill(role)
            await asyncio.sleep(chance.uniform(0.1, pause_s))

    async def chaos() -> None:
        until = time.monotonic() + FOR_S
        await asyncio.sleep(2)
        # First: what a killed gateway left in Redis alone dies with a flush; that is the limit that DESIGN states.
        with house.valkey() as valkey:
            valkey.flushall()
        await asyncio.sleep(2)
        # Two at a time: a gateway dies while the store is away that it was speaking to.
        await asyncio.gather(
            monkey(("gateway",), 4.0, SEED, until),
            monkey(("worker", "valkey", "postgres", None), 2.0, SEED + 1, until),
        )

    await crowd.busy(30, MIX, chaos)
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert sum(done.values()) >= 12 and len(done) >= 5, done
    outcomes = books.outcomes()
    assert all(outcomes[outcome] >= 5 for outcome in ("ok", "client_abort", "upstream_error", "abandoned")), outcomes
