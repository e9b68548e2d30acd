"""A desk as a gateway has it, over a line that a test can cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from proxy.holds.away import StoreAway
from proxy.holds.bus import Bus
from proxy.holds.client import AdmitReply, Holds
from proxy.settlement.desk import Desk
from proxy.settlement.orphans import adopt_orphans
from proxy.settlement.ring import Ring
from proxy.settlement.spool import Spool
from proxy.settlement.usage_event import encode
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.ids import NIL
from tests.held import EPOCHS, SHARD, WORKSPACE, connected, event_of, new_attempt

KNOWN = (EPOCHS[WORKSPACE], EPOCHS[NIL])


class House:
    def __init__(
        self, url: str, folder: Path, *, spool_bytes: int = 1 << 20, deadline_s: float = 1.0, **settings: Any
    ) -> None:
        self.bus = Bus(url, deadline_s=deadline_s, tick_s=0.05)
        self.holds = Holds(self.bus)
        self.folder = folder
        self.spool = Spool.open(folder, uuid4().hex, max_bytes=spool_bytes)
        self.ring = Ring()
        self.metrics = Metrics()
        self.told: list[tuple[UUID, int | None, int | None]] = []
        self.desk = Desk(
            self.holds, self.spool, self.ring, Clock(), self.metrics,
            on_epochs=lambda *epochs: self.told.append(epochs), **settings,
        )  # fmt: skip
        self.bus.on_connect = self.desk.on_reconnect
        self.scope = self.holds.scope(SHARD, WORKSPACE)
        self.closed = False

    async def open(self, attempt_id: UUID, epochs: tuple[int, int] = KNOWN) -> AdmitReply:
        answer: asyncio.Future[AdmitReply | StoreAway] = asyncio.get_running_loop().create_future()
        stub = encode(event_of(attempt_id, "abandoned", output_tokens=0))
        self.desk.announce(self.scope, attempt_id, stub, epochs, answer.set_result)
        reply = await answer
        if isinstance(reply, StoreAway):
            raise reply
        return reply

    async def opened(self) -> UUID:
        attempt_id = new_attempt()
        reply = await self.open(attempt_id)
        assert reply.kind == "held", reply
        return attempt_id

    def settling(self, attempt_id: UUID) -> asyncio.Future[None]:
        """Sent now; done when the desk says so."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.desk.settle(attempt_id, encode(event_of(attempt_id)), lambda: done.set_result(None))
        return done

    async def settle(self, attempt_id: UUID) -> None:
        await self.settling(attempt_id)

    async def close(self, grace_s: float = 2) -> None:
        if not self.closed:
            self.closed = True
            await self.desk.close(grace_s)
            await self.bus.stop()

    async def adopt(self) -> int:
        """What another process does once this one is gone: how many records were in the spool."""
        bus = await connected(Bus(self.worker_url))
        try:
            return (await adopt_orphans(self.folder, Holds(bus))).records
        finally:
            await bus.stop()

    worker_url = ""


@asynccontextmanager
async def house_at(url: str, folder: Path, **settings: Any) -> AsyncIterator[House]:
    house = House(url, folder, **settings)
    await connected(house.bus)
    try:
        yield house
    finally:
        await house.close()
