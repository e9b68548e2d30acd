"""Waiting that `stop` ends, and how long to wait after failures."""

from __future__ import annotations

import asyncio
import random


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Until `stop` is set, at most `seconds`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


class Backoff:
    """Doubles from `first_s` to `most_s`, with jitter so that workers do not come back together."""

    def __init__(self, *, first_s: float = 0.1, most_s: float = 5.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def reset(self) -> None:
        self._next_s = self._first_s

    def next_s(self) -> float:
        seconds, self._next_s = self._next_s, min(self._next_s * 2, self._most_s)
        return seconds * random.uniform(0.5, 1.0)
