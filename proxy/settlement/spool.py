"""This process' own file of events that Redis has not acknowledged.

One file per process, `<folder>/<boot id>.spool`, locked as long as the process lives: so others can tell an orphan.
Written and fsynced in groups by one thread. Replayed in order; emptied once all of it is acknowledged, so a replay that
was cut short begins again from the start for whoever adopts the file: duplicates are harmless.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import UUID

from proxy.settlement import spool_lines
from proxy.settlement.spool_files import SUFFIX, UNBORN, lines_of, sync_folder
from proxy.settlement.spool_lines import Record

log = logging.getLogger(__name__)
T = TypeVar("T")


class SpoolFailed(Exception):
    """Nothing was kept. The message says why and what to do."""


class Batch(NamedTuple):
    records: list[Record]
    end: int  # for `acknowledged`


class Spool:
    """Made by `Spool.open`. All methods are for the event loop's thread."""

    def __init__(self, path: Path, fd: int, max_bytes: int) -> None:
        self.path = path
        self._fd = fd
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._lines: list[bytes] = []  # not given to the thread yet
        self._waiters: list[asyncio.Future[None]] = []
        self._writing: asyncio.Future[None] | None = None
        self._unwritten_bytes = 0
        self._written = 0  # the file up to here is fsynced
        self._acknowledged = 0  # the file up to here is in Redis

    @classmethod
    def open(cls, folder: Path, boot_id: str, *, max_bytes: int = 256 << 20) -> Spool:
        """Blocking; at start. A folder that cannot be written to is found now and not when it is needed."""
        path = folder / (boot_id + SUFFIX)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unborn = folder / (boot_id + SUFFIX + UNBORN)
            fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, b"\n")  # a full disk or a read-only one says so here
            os.ftruncate(fd, 0)
            os.rename(unborn, path)
            sync_folder(folder)
        except OSError as error:
            raise SpoolFailed(
                f"the spool {path} cannot be made: {error}. It keeps usage events while Redis is away, so nothing "
                "starts without it. Make the folder writable for this account, or give another data folder"
            ) from error
        return cls(path, fd, max_bytes)

    @property
    def waiting_bytes(self) -> int:
        """What waits to be acknowledged."""
        return self._written - self._acknowledged + self._unwritten_bytes

    def append(self, shard: int, attempt_id: UUID, event: bytes) -> asyncio.Future[None]:
        """Done once fsynced. Raises SpoolFailed at once where it is full; the future does where the disk refuses."""
        line = spool_lines.encode(shard, attempt_id, event)
        if self._written + self._unwritten_bytes + len(line) > self._max_bytes:
            raise SpoolFailed(f"the spool {self.path} is full ({self._max_bytes} bytes)")
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.append(line)
        self._waiters.append(kept)
        self._unwritten_bytes += len(line)
        if self._writing is None:
            self._write()
        return kept

    async def read(self, limit: int) -> Batch | None:
        """The oldest records that are not acknowledged. None: nothing waits."""
        if self._written == self._acknowledged:
            return None
        return await self._in_thread(partial(self._read, self._acknowledged, self._written, limit))

    async def acknowledged(self, end: int) -> None:
        """All up to `end` of a batch is in Redis. The file is emptied when that is all there is."""
        self._acknowledged = end
        if end == self._written and self._writing is None:
            self._written = self._acknowledged = 0
            await self._in_thread(partial(os.ftruncate, self._fd, 0))

    async def close(self) -> bool:
        """Writes what is left. True: nothing waits, the file goes. Else it stays, unlocked, for whoever adopts it."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
            await asyncio.sleep(0)  # its callback may begin the next
        empty = self.waiting_bytes == 0
        if empty:
            self.path.unlink(missing_ok=True)
        self._thread.shutdown()
        os.close(self._fd)
        return empty

    def _write(self) -> None:
        data, waiters = b"".join(self._lines), self._waiters
        self._lines, self._waiters = [], []
        self._writing = self._in_thread(partial(self._append, data, self._written))
        self._writing.add_done_callback(partial(self._wrote, len(data), waiters))

    def _wrote(self, size: int, waiters: list[asyncio.Future[None]], writing: asyncio.Future[None]) -> None:
        error = writing.exception()
        self._unwritten_bytes -= size
        self._writing = None
        if error is None:
            self._written += size
        else:
            log.critical("the spool %s could not be written: %s", self.path, error)
        for kept in waiters:
            if kept.done():
                continue
            if error is None:
                kept.set_result(None)
            else:
                kept.set_exception(SpoolFailed(f"the spool {self.path} could not be written: {error}"))
        if self._lines:
            self._write()

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    # in the thread

    def _append(self, data: bytes, at: int) -> None:
        if os.fstat(self._fd).st_size != at:
            os.ftruncate(self._fd, at)  # what a failed write left: its waiters were told that nothing was kept
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)

    def _read(self, start: int, end: int, limit: int) -> Batch:
        records: list[Record] = []
        for line in lines_of(self._fd, start, end, limit):
            start += len(line) + 1
            match spool_lines.decode(line):
                case Record() as record:
                    records.append(record)
                case spool_lines.Damaged():
                    log.critical("a line of the spool %s was damaged on disk: %r", self.path, line[:200])
        return Batch(records, start)
