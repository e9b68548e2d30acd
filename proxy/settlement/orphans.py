"""Spool files whose process is gone: adopted by whoever sees the folder, sent again, removed.

A file is an orphan if its lock can be had. A process that is alive holds the lock of its own file.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from proxy.holds.client import Holds
from proxy.settlement import spool_lines
from proxy.settlement.resend import send_again
from proxy.settlement.spool_files import SUFFIX, UNBORN, lines_of
from proxy.settlement.spool_lines import Record

log = logging.getLogger(__name__)

RECORDS_PER_TRIP = 200
DAMAGED = ".damaged"
UNBORN_FOR_S = 60  # its maker is at work for milliseconds


class Adopted(NamedTuple):
    files: int
    records: int
    damaged: int


class Piece(NamedTuple):
    records: list[Record]
    end: int
    damaged: int
    torn: bool


class Orphan:
    """A file that is ours now. `close` gives it back as it is, `remove` ends it."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def adopt(cls, path: Path) -> Orphan | None:
        """None: its process lives, or somebody else was faster."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between our open and our lock another adopter may have ended the file: the name must still mean this one.
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return cls(path, fd)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None

    def read(self, start: int, limit: int) -> Piece:
        size = os.fstat(self._fd).st_size
        lines = lines_of(self._fd, start, size, limit)
        if not lines:
            return Piece([], size, damaged=0, torn=start < size)
        found = [spool_lines.decode(line) for line in lines]
        records = [line for line in found if isinstance(line, Record)]
        end = start + sum(map(len, lines)) + len(lines)
        return Piece(records, end, damaged=len(found) - len(records), torn=False)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def keep_aside(self) -> None:
        """It holds lines that nobody can read: for a person to look at."""
        self.path.rename(self.path.with_name(self.path.name + DAMAGED))
        self.close()

    def close(self) -> None:
        os.close(self._fd)


async def adopt_orphans(folder: Path, holds: Holds) -> Adopted:
    """Send again what dead processes of this host left. Raises StoreAway; the file in hand is begun again next time.

    A torn last line is what a death in mid-write leaves: nobody was told that it was kept. Any other damage is the
    disk's: the readable lines are sent, the file is kept aside as `….damaged`.
    """
    total = Adopted(0, 0, 0)
    for path in await asyncio.to_thread(_candidates, folder):
        orphan = Orphan.adopt(path)
        if orphan is None:
            continue
        records = damaged = end = 0
        try:
            while True:
                piece = await asyncio.to_thread(orphan.read, end, RECORDS_PER_TRIP)
                if piece.end == end or not piece.records and not piece.damaged:
                    break
                await send_again(holds, piece.records)
                records, damaged, end = records + len(piece.records), damaged + piece.damaged, piece.end
        except BaseException:
            orphan.close()
            raise
        if damaged:
            log.critical("the spool %s has %d damaged lines; it is kept as %s%s", path, damaged, path, DAMAGED)
            orphan.keep_aside()
        else:
            orphan.remove()
        if records or piece.torn:
            log.warning("adopted the spool %s: %d records sent%s", path, records, ", last line torn" * piece.torn)
        total = Adopted(total.files + 1, total.records + records, total.damaged + damaged)
    return total


def _candidates(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) or _given_up(path))


def _given_up(path: Path) -> bool:
    if not path.name.endswith(SUFFIX + UNBORN):
        return False
    try:
        return path.stat().st_mtime < time.time() - UNBORN_FOR_S
    except FileNotFoundError:  # it has just got its name
        return False
