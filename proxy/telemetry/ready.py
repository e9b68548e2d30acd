"""How a process says that it is up, and then that it lives: into a pipe whose number its supervisor gave it as
`--ready-fd`."""

from __future__ import annotations

import asyncio
import contextlib
import os

LINE = b"ready\n"
BEAT, EVERY_S = b".", 1.0


def announce_ready(fd: int | None) -> None:
    """Once it serves, never before; in the event loop, which then beats: one that hangs falls silent.

    A supervisor that is gone does not matter here.
    """
    if fd is None:
        return
    with contextlib.suppress(OSError):
        os.write(fd, LINE)
    os.set_blocking(fd, False)
    _beat(asyncio.get_running_loop(), fd)


def _beat(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    try:
        with contextlib.suppress(BlockingIOError):  # nobody looks just now
            os.write(fd, BEAT)
    except OSError:
        os.close(fd)
    else:
        loop.call_later(EVERY_S, _beat, loop, fd)
