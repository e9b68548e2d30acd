"""What a spool and its adopter both do with a file. Blocking: for a thread, or for start."""

from __future__ import annotations

import os
from pathlib import Path

SUFFIX = ".spool"
UNBORN = ".new"  # a file that nobody may adopt yet: made, locked, then renamed
READ_BYTES = 1 << 20


def lines_of(fd: int, start: int, end: int, limit: int) -> list[bytes]:
    """At most `limit` whole lines, without their newlines, and no more than one read holds, unless a line is longer."""
    size = READ_BYTES
    while True:
        data = os.pread(fd, min(size, end - start), start)
        whole, newline, _ = data.rpartition(b"\n")
        if newline:
            return whole.split(b"\n", limit)[:limit]
        if len(data) < size:
            return []
        size *= 2


def sync_folder(folder: Path) -> None:
    """A new or renamed file survives a crash of the machine only once its folder is fsynced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
