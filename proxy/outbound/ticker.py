"""One timer per process for all deadlines that may be a second late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol


class Watcher(Protocol):
    def tick(self, now: float) -> None:
        """Called once per interval with the loop's monotonic time."""


class Ticker:
    """Calls its watchers each interval. A watcher that raises is reported by the event loop and stops no other."""

    def __init__(self, interval_s: float = 1.0) -> None:
        self.interval_s = interval_s
        self._watchers: dict[Watcher, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, watcher: Watcher) -> None:
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def start(self) -> None:
        """Must run on the event loop that the watchers live on."""
        if self._timer is None:
            self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.interval_s, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._arm(loop)
        self._run(loop, iter(tuple(self._watchers)), loop.time())

    def _run(self, loop: asyncio.AbstractEventLoop, rest: Iterator[Watcher], now: float) -> None:
        through = False
        try:
            for watcher in rest:
                if watcher in self._watchers:
                    watcher.tick(now)
            through = True
        finally:
            if not through:
                loop.call_soon(self._run, loop, rest, now)
