"""The connections to one origin: the last one used is the next one taken; bounded; calls that wait for one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from dataclasses import dataclass

from proxy.outbound.call import Call
from proxy.outbound.connection import Connection
from proxy.outbound.dial import DialFailed, Veto, dial
from proxy.outbound.origin import Origin
from proxy.outbound.sink import Broken

_DETAILS = {
    Broken.TIMEOUT_CONNECT: "no connection in time",
    Broken.TIMEOUT_FIRST_BYTE: "connected, but no answer in time",
    Broken.TIMEOUT_IDLE: "the response stopped in the middle",
}
_BUSY = "all connections to this provider are in use"
_STOPPING = "the gateway is stopping"


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Per origin, except the last two, which are per response. `idle_limit_s` lies below what providers close after."""

    max_connections: int = 1000
    max_waiting: int = 1000
    idle_limit_s: float = 30.0
    max_head_bytes: int = 64 * 1024
    max_headers: int = 256


class Lane:
    """As many dials run as calls wait, within the bound; a failed dial fails the call that waited longest."""

    def __init__(
        self, origin: Origin, context: ssl.SSLContext, veto: Veto, buffer: memoryview, limits: LaneLimits
    ) -> None:
        self.origin = origin
        self.calls: dict[Call, None] = {}
        self.idle: dict[Connection, None] = {}  # popitem takes the newest, so what is not needed ages out
        self.waiting: OrderedDict[Call, None] = OrderedDict()
        self.dials: set[asyncio.Task[None]] = set()
        self.open = 0
        self._context = context
        self._veto = veto
        self._buffer = buffer
        self._limits = limits
        self._stopped = False

    # ---- calls

    def take(self, call: Call) -> None:
        self.calls[call] = None
        while self.idle:
            connection, _ = self.idle.popitem()
            if connection.usable():
                connection.send(call)
                return
            connection.abandon()
        if self._stopped or len(self.waiting) - len(self.dials) >= self._limits.max_waiting:
            detail = _STOPPING if self._stopped else _BUSY
            asyncio.get_running_loop().call_soon(self._fail, call, Broken.OVERLOADED, detail)
            return
        self.waiting[call] = None
        self._dial()

    def forget(self, call: Call) -> None:
        self.calls.pop(call, None)
        if not call.bytes_written:
            self.waiting.pop(call, None)

    @staticmethod
    def _fail(call: Call, reason: Broken, detail: str) -> None:
        if call.over:
            return
        carrier = call.end()
        if carrier is not None:
            carrier.abandon()
        call.detail = detail
        call.sink.on_broken(reason)

    # ---- connections

    def _dial(self) -> None:
        if self._stopped or len(self.dials) >= len(self.waiting):
            return
        if self.open + len(self.dials) >= self._limits.max_connections:
            return
        timeout_s = next(iter(self.waiting)).connect_timeout_s
        task = asyncio.get_running_loop().create_task(self._dialled(timeout_s), name=f"dial {self.origin.authority}")
        self.dials.add(task)
        task.add_done_callback(self.dials.discard)

    async def _dialled(self, timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await dial(
                self.origin,
                self._connection,
                context=self._context,
                veto=self._veto,
                timeout_s=timeout_s,
            )
        except DialFailed as failure:
            self.dials.discard(task)
            self._fail_longest_waiting(failure.reason, failure.detail)
            return
        self.dials.discard(task)
        if connection.usable():
            self.freed(connection)
        else:
            connection.close()
            self._fail_longest_waiting(Broken.UNREACHABLE, f"{self.origin.authority} closes new connections")

    def _connection(self, sock: socket.socket) -> Connection:
        caps = self._limits
        return Connection(self, sock, self._buffer, max_head_bytes=caps.max_head_bytes, max_headers=caps.max_headers)

    def _fail_longest_waiting(self, reason: Broken, detail: str) -> None:
        call = self.waiting.popitem(last=False)[0] if self.waiting else None
        self._dial()  # for the next one
        if call is not None:
            self._fail(call, reason, detail)

    def joined(self, connection: Connection) -> None:
        self.open += 1

    def freed(self, connection: Connection) -> None:
        if self.waiting:
            call, _ = self.waiting.popitem(last=False)
            connection.send(call)
        elif self._stopped:
            connection.close()
        else:
            self.idle[connection] = None

    def gone(self, connection: Connection) -> None:
        self.open -= 1
        self.idle.pop(connection, None)
        self._dial()

    # ---- time

    def tick(self, now: float) -> None:
        for call in tuple(self.calls):
            reason = call.overdue(now)
            if reason is Broken.TIMEOUT_CONNECT and not self.dials:
                self._fail(call, Broken.OVERLOADED, _BUSY)
            elif reason is not None:
                self._fail(call, reason, _DETAILS[reason])
        for connection in tuple(self.idle):
            if connection.idle_since is None:
                connection.idle_since = now
            elif now - connection.idle_since > self._limits.idle_limit_s:
                connection.close()

    def stop(self) -> list[asyncio.Task[None]]:
        """Ends calls and connections, and dials: the caller awaits those."""
        self._stopped = True
        dials = list(self.dials)
        for task in dials:
            task.cancel()
        for call in tuple(self.calls):
            self._fail(call, Broken.RESET, _STOPPING)
        for connection in tuple(self.idle):
            connection.abandon()
        return dials

    def empty(self) -> bool:
        return not self.open and not self.calls and not self.dials
