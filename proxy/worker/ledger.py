"""One shard's ledger loop: waits for entries without taking them, then lets the writer work until nothing is left."""

from __future__ import annotations

import asyncio
import logging
import time

from proxy.ledger.stream import UsageStream
from proxy.ledger.writer import Busy, LedgerWriter, Wrote
from proxy.storage.away import StoreAway
from proxy.worker.pace import Backoff, pause

_log = logging.getLogger(__name__)


class LedgerLoop:
    """`linger_s`: after the first entry of an idle stream, wait for company: a batch costs much the same for one as for
    many. `tick_s`: look even if nothing seems to have come (what a dead writer left; `as_of` moves on). `busy_s`:
    another worker has the shard. `drain_s`: at stop, finish what the gateways settled before they ended."""

    def __init__(
        self,
        writer: LedgerWriter,
        stream: UsageStream,
        *,
        shard: int,
        linger_s: float = 0.1,
        block_s: float = 1.0,
        tick_s: float = 5.0,
        busy_s: float = 1.0,
        drain_s: float = 5.0,
    ) -> None:
        self._writer = writer
        self._stream = stream
        self._shard = shard
        self._linger_s = linger_s
        self._block_ms = round(block_s * 1000)
        self._tick_s = tick_s
        self._busy_s = busy_s
        self._drain_s = drain_s
        self._away = False

    async def run(self, stop: asyncio.Event) -> None:
        backoff = Backoff()
        while not stop.is_set():
            try:
                step = await self._writer.step()
                self._back()
                backoff.reset()
                match step:
                    case Busy():
                        await pause(stop, self._busy_s)
                    case Wrote(drained=True):
                        await self._idle(stop)
                    case Wrote():
                        pass
            except StoreAway as error:
                self._gone(error)
                await self._tell_backlog()
                await pause(stop, backoff.next_s())
        await self._drain()

    async def _idle(self, stop: asyncio.Event) -> None:
        """Until there is something to read, or it is time to look anyway."""
        until = time.monotonic() + self._tick_s
        while not stop.is_set() and time.monotonic() < until:
            if await self._woken(stop):
                await pause(stop, self._linger_s)
                return

    async def _woken(self, stop: asyncio.Event) -> bool:
        waiting = asyncio.ensure_future(self._stream.wait(self._block_ms))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await waiting if waiting.done() else False
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _drain(self) -> None:
        until = time.monotonic() + self._drain_s
        while time.monotonic() < until:
            try:
                step = await self._writer.step()
            except StoreAway:
                return  # it stays in the stream, for the next start
            if isinstance(step, Busy) or step.drained:
                return

    async def _tell_backlog(self) -> None:
        try:
            await self._writer.report_backlog()
        except StoreAway:
            return  # Redis is the one that is away: nothing is known

    def _gone(self, error: StoreAway) -> None:
        if not self._away:
            _log.error("shard %s: the ledger waits: %s", self._shard, error)
        self._away = True

    def _back(self) -> None:
        if self._away:
            _log.warning("shard %s: the ledger goes on", self._shard)
        self._away = False
