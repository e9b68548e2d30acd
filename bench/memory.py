"""Memory of open streams: what a process grows by when so many clients wait in the middle of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

STREAMS = 400


def resident_kib(pids: list[int]) -> int:
    return sum(
        int(line.split()[1])
        for pid in pids
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


@contextlib.asynccontextmanager
async def open_streams(port: int, request: bytes, count: int) -> AsyncIterator[None]:
    """Each has its first event and waits for the next."""
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        first = await reader.read(4096)
        if b" 200 " not in first:
            sys.exit(first.decode())
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def kib_per_stream(port: int, request: bytes, pids: list[int]) -> float:
    """Against as many that were open once: what is grown for the first time is kept."""
    async with open_streams(port, request, 50):
        pass
    await asyncio.sleep(1)
    before = resident_kib(pids)
    async with open_streams(port, request, STREAMS):
        await asyncio.sleep(1)
        return (resident_kib(pids) - before) / STREAMS
