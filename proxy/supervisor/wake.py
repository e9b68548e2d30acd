"""Signals as something to wait for: a stop that was asked for, a child that ended."""

from __future__ import annotations

import contextlib
import signal
import socket
from types import FrameType
from typing import Any

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wake:
    """Used as a context in the main thread; restores what it replaced."""

    def __init__(self) -> None:
        self.stops = 0  # how often somebody asked: the second time hurries

    def __enter__(self) -> Wake:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        # A signal that we were started to ignore (nohup) stays ignored.
        heeded = [number for number in STOP if signal.getsignal(number) is not signal.SIG_IGN]
        self._old: dict[int, Any] = {number: signal.signal(number, self._stop) for number in heeded}
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._child_ended)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._read.close()
        self._write.close()

    def sleep(self, seconds: float) -> None:
        """Until a signal comes, at most so long."""
        self._read.settimeout(max(seconds, 0.001))
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._read.recv(4096)

    def stop_wanted(self) -> bool:
        return self.stops > 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1

    def _child_ended(self, number: int, frame: FrameType | None) -> None:
        """Only for its wake-up byte."""
