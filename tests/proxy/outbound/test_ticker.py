from __future__ import annotations

import asyncio

from proxy.outbound.ticker import Ticker
from tests.proxy.outbound.sinks import LoopErrors


class Counting:
    def __init__(self, raises: bool = False) -> None:
        self.ticks = 0
        self.raises = raises
        self.thrice = asyncio.Event()

    def tick(self, now: float) -> None:
        self.ticks += 1
        if self.ticks == 3:
            self.thrice.set()
        if self.raises:
            raise RuntimeError("bug in a watcher")


async def test_a_watcher_that_raises_stops_no_other(loop_errors: LoopErrors) -> None:
    ticker, bad, good = Ticker(0.001), Counting(raises=True), Counting()
    ticker.watch(bad)
    ticker.watch(good)
    ticker.start()
    await asyncio.wait_for(good.thrice.wait(), 5)
    ticker.unwatch(bad)
    ticker.stop()
    ticks = good.ticks
    assert bad.ticks >= 3 and all(isinstance(error["exception"], RuntimeError) for error in loop_errors.seen)
    loop_errors.seen.clear()
    await asyncio.sleep(0.01)
    assert good.ticks == ticks


async def test_a_watcher_taken_out_in_the_same_tick_is_not_called() -> None:
    ticker, second = Ticker(0.001), Counting()

    class First(Counting):
        def tick(self, now: float) -> None:
            super().tick(now)
            ticker.unwatch(second)

    first = First()
    ticker.watch(first)
    ticker.watch(second)
    ticker.start()
    await asyncio.wait_for(first.thrice.wait(), 5)
    ticker.stop()
    assert second.ticks == 0
