"""What tests of holds and settlement share: a bus, a client, events, and a look at what Redis holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.settlement.usage_event import UsageEvent, decode, encode
from proxy.storage.redis import Redis, open_redis
from proxy.wire.ids import NIL, uuid7

SHARD = 3
WORKSPACE = UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001)
EPOCHS = {WORKSPACE: 4, NIL: 7}


def new_attempt() -> UUID:
    return uuid7(time.time_ns() // 1_000_000)


def event_of(
    attempt_id: UUID, outcome: str = "ok", workspace_id: UUID = WORKSPACE, output_tokens: int = 20
) -> UsageEvent:
    return UsageEvent(
        attempt_id=attempt_id, request_id=uuid4(), shard=SHARD, workspace_id=workspace_id,
        user_id=uuid4(), virtual_key_id=uuid4(),
        llm="synapscale/echo", provider="synapscale", upstream_model="echo", surface="chat", key_source="global",
        provider_account="ours", usage_source="provider", outcome=outcome, output_tokens=output_tokens,
    )  # fmt: skip


def stub_of(attempt_id: UUID) -> bytes:
    return encode(event_of(attempt_id, "abandoned", output_tokens=0))


async def awaited(found: Callable[[], Awaitable[Any]], within_s: float = 10) -> Any:
    """`eventually` for what has to be asked for."""
    until = time.monotonic() + within_s
    while True:
        if value := await found():
            return value
        assert time.monotonic() < until, f"it never came true: {value!r}"
        await asyncio.sleep(0.01)


async def eventually(found: Callable[[], Any], within_s: float = 10) -> Any:
    """Waits for `found()` to be true; where it never is, fails with what it last was."""
    until = time.monotonic() + within_s
    while True:
        if value := found():
            return value
        assert time.monotonic() < until, f"it never came true: {value!r}"
        await asyncio.sleep(0.01)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Seen:
    """What Redis holds of the shard, seen by another client."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def holds(self) -> dict[UUID, tuple[int, bytes]]:
        """attempt → lease end, stub"""
        raw = await self.redis.hgetall(f"{{s{SHARD}}}:holds")
        split = {UUID(hex=digits.decode()): value.split(b"|", 1) for digits, value in raw.items()}
        return {attempt_id: (int(lease), stub) for attempt_id, (lease, stub) in split.items()}

    async def entries(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(f"{{s{SHARD}}}:usage")]

    async def outcomes(self) -> dict[UUID, list[tuple[str, bool]]]:
        """attempt → (outcome, late) of each entry, in order"""
        found: dict[UUID, list[tuple[str, bool]]] = {}
        for fields in await self.entries():
            assert fields[b"v"] == b"1"
            event = decode(fields[b"e"])
            found.setdefault(event.attempt_id, []).append((event.outcome, fields.get(b"l") == b"1"))
        return found

    async def now_ms(self) -> int:
        seconds, micros = await self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


@pytest.fixture
async def seen(redis_url: str) -> AsyncIterator[Seen]:
    async with open_redis(redis_url) as redis:
        yield Seen(redis)


async def connected(bus: Bus) -> Bus:
    await bus.start()
    assert await bus.wait_connected(10)
    return bus


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    bus = await connected(Bus(redis_url))
    yield bus
    await bus.stop()


@pytest.fixture
async def holds(bus: Bus) -> Holds:
    return Holds(bus)


@pytest.fixture
async def seeded(holds: Holds) -> Holds:
    await holds.seed(SHARD, "gen-1", EPOCHS)
    return holds
