"""The way to Redis: connects, reconnects, watches the deadline and the server's memory. One pipeline for everybody."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from proxy.holds import address
from proxy.holds.away import ErrorReply, StoreAway
from proxy.holds.line import Line, Sink
from proxy.holds.lua import ALL, Script
from proxy.holds.resp import pack

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 1.0
INFO_EVERY_S = 1.0
_INFO = pack(b"INFO", b"memory")


class Bus:
    """`send` is the hot path and never waits: connected with room, or StoreAway at once.

    `on_connect` is called after each handshake, the first one included.
    """

    def __init__(
        self,
        url: str,
        *,
        scripts: Sequence[Script] = ALL,
        client_name: str = "synapscale",
        deadline_s: float = 5.0,
        tick_s: float = 0.25,
        max_pending: int = 20_000,
        max_unsent_bytes: int = 8 << 20,
    ) -> None:
        self._address = address.parse(url)
        self._load = tuple(pack(b"SCRIPT", b"LOAD", script.source) for script in scripts)
        self._shas = [script.sha for script in scripts]
        self._client_name = client_name
        self._deadline_s = deadline_s
        self._tick_s = tick_s
        self._max_pending = max_pending
        self._max_unsent_bytes = max_unsent_bytes
        self._line: Line | None = None
        self._lost: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._up = asyncio.Event()
        self._marks: deque[tuple[float, int]] = deque()  # (when, how many had been sent by then)
        self._ticked_at = 0.0
        self._asked_at = 0.0
        self.on_connect: Callable[[], None] = _nothing
        self.memory_ratio = 0.0  # used / maxmemory; 0 where there is no limit or it is not told

    @property
    def connected(self) -> bool:
        return self._line is not None

    async def start(self) -> None:
        """Begins to connect, and goes on trying; see `wait_connected`."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name="redis bus")
        self._task.add_done_callback(_report)
        self._ticked_at = loop.time()
        self._ticker = loop.call_later(self._tick_s, self._tick)

    async def wait_connected(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._up.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Writes what was queued, then closes. What is unanswered by then fails."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        line, lost = self._line, self._lost
        if line is not None and lost is not None:
            line.close()
            await asyncio.wait([lost], timeout=1)
            line.drop("closed here")
            await asyncio.wait([lost], timeout=1)

    def send(self, payload: bytes, sink: Sink, *, retry: bool = True) -> None:
        """Raises StoreAway where nothing was sent; from then on `sink` gets the answer or an `Unanswered`."""
        line = self._line
        if line is None or line.stuffed or len(line.pending) >= self._max_pending:
            raise StoreAway("Redis cannot be reached" if line is None else "Redis does not keep up")
        line.send(payload, sink, retry=retry)

    async def _run(self) -> None:
        pause_s = BACKOFF_FIRST_S
        told = False
        while True:
            try:
                async with asyncio.timeout(self._deadline_s):
                    line, lost = await self._connect()
            except (OSError, StoreAway) as error:  # TimeoutError is an OSError
                if not told:
                    told = True
                    why = str(error) or "no answer in time"
                    log.warning("Redis at %s cannot be reached, trying on: %s", self._address, why)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, BACKOFF_MOST_S)
                continue
            pause_s, told = BACKOFF_FIRST_S, False
            log.info("connected to Redis at %s", self._address)
            asyncio.get_running_loop().call_soon(self.on_connect)
            log.warning("lost Redis at %s: %s", self._address, await asyncio.shield(lost))

    async def _connect(self) -> tuple[Line, asyncio.Future[str]]:
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()

        def on_lost(line: Line, reason: str) -> None:
            if self._line is line:
                self._line = None
                self._up.clear()
            if not lost.done():
                lost.set_result(reason)

        def make() -> Line:
            return Line(load=self._load, max_unsent_bytes=self._max_unsent_bytes, on_lost=on_lost)

        to = self._address
        if to.path is not None:
            _, line = await loop.create_unix_connection(make, to.path)
        else:
            _, line = await loop.create_connection(make, to.host, to.port, ssl=to.tls)
        ready = False
        try:
            await self._shake_hands(line)
            ready = not lost.done()
        finally:
            if not ready:
                line.drop("the handshake failed")
        if not ready:
            raise StoreAway(lost.result())
        self._marks.clear()
        self._line, self._lost = line, lost
        self._up.set()
        return line, lost

    async def _shake_hands(self, line: Line) -> None:
        to = self._address
        if to.password is not None:
            await line.ask(pack(b"AUTH", *([to.user] if to.user else []), to.password))
        if to.database:
            await line.ask(pack(b"SELECT", to.database))
        loaded = await asyncio.gather(*(line.ask(load) for load in self._load))
        if loaded != self._shas:
            raise StoreAway("SCRIPT LOAD answered other digests than ours")
        try:
            await line.ask(pack(b"CLIENT", b"SETNAME", self._client_name))
            self._saw_memory(await line.ask(_INFO))
        except ErrorReply as error:  # an account without these rights still works
            log.info("Redis refuses a command that we can do without: %s", error)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        blocked = now - self._ticked_at > 4 * self._tick_s
        self._ticked_at = now
        self._ticker = loop.call_later(self._tick_s, self._tick)
        line = self._line
        if line is None:
            return
        if blocked:
            self._marks.clear()  # it was this process that slept: the answers may lie in the socket
        self._marks.append((now, line.sent))
        answered = line.sent - len(line.pending)
        while self._marks[0][0] <= now - self._deadline_s:
            if answered < self._marks.popleft()[1]:
                line.drop(f"no answer within {self._deadline_s} s")
                return
        if now - self._asked_at >= INFO_EVERY_S and not line.stuffed:
            self._asked_at = now
            line.send(_INFO, self._saw_memory, retry=False)

    def _saw_memory(self, reply: Any) -> None:
        if not isinstance(reply, bytes):
            return
        facts = dict(row.split(b":", 1) for row in reply.splitlines() if b":" in row)
        most = int(facts.get(b"maxmemory", 0))
        self.memory_ratio = int(facts.get(b"used_memory", 0)) / most if most else 0.0


def _nothing() -> None:
    pass


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("the Redis bus ended and will not reconnect", exc_info=error)
