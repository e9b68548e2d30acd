"""Latency at a fixed rate, counted from the moment a request was due, not from when a slow server let it be sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import cast


class Client(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, idle: deque[Client]) -> None:
        self.idle = idle
        self.buffer = b""
        self.due = 0.0
        self.done: list[float] = []
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(self.buffer[:300])
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) >= end + 4 + length:
            self.done.append(time.perf_counter() - self.due)
            self.buffer = b""
            self.idle.append(self)


async def measure(port: int, request: bytes, *, per_second: int, seconds: float, connections: int = 64) -> list[float]:
    """Latencies in seconds, sorted."""
    loop = asyncio.get_running_loop()
    idle: deque[Client] = deque()
    clients: list[Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(idle), "127.0.0.1", port)
        clients.append(client)
    idle.extend(clients)
    start = time.perf_counter() + 0.1
    for number in range(int(per_second * seconds)):
        due = start + number / per_second
        while (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        while not idle:
            await asyncio.sleep(0.0005)
        client = idle.popleft()
        client.due = due
        assert client.transport is not None
        client.transport.write(request)
    await asyncio.sleep(0.5)
    for client in clients:
        assert client.transport is not None
        client.transport.close()
    return sorted(latency for client in clients for latency in client.done)
