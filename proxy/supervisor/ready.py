"""The parent's end of the pipe into which a child says that it is up, and then that it lives (`telemetry/ready.py`)."""

from __future__ import annotations

import os

from proxy.telemetry.ready import LINE
from proxy.telemetry.ready import announce_ready as announce_ready


class ReadyPipe:
    def __init__(self) -> None:
        self._read, self.child_end = os.pipe()
        os.set_blocking(self._read, False)
        self.ready = False

    def started(self) -> None:
        """The child has its copy; ours would keep the pipe open."""
        os.close(self.child_end)

    def look(self) -> bool:
        """Whether it ever said that it is up."""
        if not self.ready and self._read >= 0:
            try:
                said = os.read(self._read, len(LINE))
            except BlockingIOError:
                return False
            self.ready = said == LINE
            if not self.ready:
                self.close()
        return self.ready

    def beat(self) -> bool:
        """Whether it said anything since the last time. One that has closed its end, or never beats, says nothing."""
        if not self.ready or self._read < 0:
            return False
        try:
            return bool(os.read(self._read, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
