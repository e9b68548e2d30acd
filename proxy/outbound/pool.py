"""Calls to any number of origins, and what bounds them."""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

from proxy.outbound.call import Call
from proxy.outbound.dial import SockAddr, Veto
from proxy.outbound.lane import Lane, LaneLimits
from proxy.outbound.origin import Origin
from proxy.outbound.sink import Sink
from proxy.outbound.ticker import Ticker

# One read takes at most this much; all connections share the memory.
READ_BYTES = 256 * 1024


class PoolState(NamedTuple):
    """What metrics ask."""

    calls: int
    connections: int
    idle: int
    waiting: int


def allow_all(address: SockAddr) -> bool:
    return False


class Pool:
    """Starts calls. Must be made and used on one event loop."""

    def __init__(
        self,
        ticker: Ticker,
        context: ssl.SSLContext,
        *,
        limits: LaneLimits | None = None,
        veto: Veto = allow_all,
    ) -> None:
        self._ticker = ticker
        self._context = context
        self._limits = limits or LaneLimits()
        self._veto = veto
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._lanes: dict[Origin, Lane] = {}
        self._closed = False
        ticker.watch(self)

    def call(
        self,
        origin: Origin,
        request: bytes,
        sink: Sink,
        *,
        connect_timeout_s: float,
        idle_timeout_s: float,
        first_byte_timeout_s: float | None = None,
    ) -> Call:
        """Starts now if a connection is idle. Every failure comes through `sink.on_broken`, never from in here.

        `connect_timeout_s` covers waiting for a free connection too. `first_byte_timeout_s` runs from the writing of
        the request to the first byte of any answer (default: the idle time). `idle_timeout_s` is the longest silence
        within a response. Each may be late by one tick.
        """
        lane = self._lanes.get(origin)
        if lane is None:
            lane = self._lanes[origin] = Lane(origin, self._context, self._veto, self._buffer, self._limits)
            if self._closed:
                lane.stop()
        call = Call(lane, request, sink, connect_timeout_s, first_byte_timeout_s or idle_timeout_s, idle_timeout_s)
        lane.take(call)
        return call

    def state(self) -> PoolState:
        lanes = self._lanes.values()
        return PoolState(
            calls=sum(len(lane.calls) for lane in lanes),
            connections=sum(lane.open for lane in lanes),
            idle=sum(len(lane.idle) for lane in lanes),
            waiting=sum(len(lane.waiting) for lane in lanes),
        )

    def tick(self, now: float) -> None:
        for origin, lane in tuple(self._lanes.items()):
            lane.tick(now)
            if lane.empty():
                del self._lanes[origin]

    async def close(self) -> None:
        """Everything at once: running calls are told RESET. Drain first."""
        self._closed = True
        self._ticker.unwatch(self)
        dials = [task for lane in self._lanes.values() for task in lane.stop()]
        await asyncio.gather(*dials, return_exceptions=True)
