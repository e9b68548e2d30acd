"""How a process says that it is up: one line into a pipe whose number its supervisor gave it as `--ready-fd`."""

from __future__ import annotations

import contextlib
import os

LINE = b"ready\n"


def announce_ready(fd: int | None) -> None:
    """Once it serves, never before. A supervisor that is gone does not matter here."""
    if fd is None:
        return
    with contextlib.suppress(OSError):
        os.write(fd, LINE)
    with contextlib.suppress(OSError):
        os.close(fd)
