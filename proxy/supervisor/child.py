"""One process that has to run: start it, see it die, start it again, not too fast."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

from proxy.supervisor.pulse import Pulse

log = logging.getLogger("synapscale.supervisor")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
LIVED_LONG_S = 20.0  # whoever lived this long starts again at once


class Kind(Protocol):
    """How to start it and how to know that it is up. `start` does not wait."""

    name: str
    stop_signal: signal.Signals

    def start(self) -> subprocess.Popen[bytes]: ...
    def ready(self) -> bool: ...


class Child:
    """Time is an argument: the owner looks at its children in turns."""

    def __init__(
        self, kind: Kind, *, on_death: Callable[[int], None] = lambda pid: None, pulse: Pulse | None = None
    ) -> None:
        self.kind = kind
        self._pulse = pulse
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = False
        self.ever_ready = False
        self._on_death = on_death
        self._pause_s = FIRST_PAUSE_S
        self._started_at = 0.0
        self._start_again_at = 0.0

    @property
    def name(self) -> str:
        return self.kind.name

    def adopt(self, process: subprocess.Popen[bytes], now: float) -> None:
        """Watch what somebody else started and found ready."""
        self.process, self._started_at = process, now
        self.is_ready = self.ever_ready = True

    def start(self, now: float) -> None:
        self._started_at = now
        self.is_ready = False
        if self._pulse is not None:
            self._pulse.restart(now)
        self.process = self.kind.start()

    def first_look(self) -> int | None:
        """Before it was ever ready: the status with which it ended, if it did. It is not started again."""
        assert self.process is not None
        if self.kind.ready():
            self.is_ready = self.ever_ready = True
        return self.process.poll()

    def look(self, now: float) -> None:
        """Notice its death, its readiness or that it hangs; start it again when its pause is over."""
        if self.process is not None and (status := self.process.poll()) is not None:
            self._died(status, now)
        if self.process is None:
            if now >= self._start_again_at:
                self._start_again(now)
        elif not self.is_ready and self.kind.ready():
            self.is_ready = self.ever_ready = True
        elif self._pulse is not None and self._pulse.hangs(now):
            # SIGTERM is for an event loop that runs. What it had announced is settled as of any that was killed.
            log.error("%s (process %d) gives no sign of life and is killed", self.name, self.process.pid)
            self.process.kill()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)  # does nothing once the process has been reaped

    def _died(self, status: int, now: float) -> None:
        assert self.process is not None
        pid, self.process, self.is_ready = self.process.pid, None, False
        self._pause(now)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        log.warning("%s (process %d) ended with %s; starting it again in %.1f s", self.name, pid, how, self._wait(now))
        self._on_death(pid)

    def _start_again(self, now: float) -> None:
        try:
            self.start(now)
        except OSError as error:
            self._pause(now)
            log.error("%s could not be started: %s; next try in %.1f s", self.name, error, self._wait(now))

    def _pause(self, now: float) -> None:
        if now - self._started_at >= LIVED_LONG_S:
            self._pause_s = FIRST_PAUSE_S
        self._start_again_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _wait(self, now: float) -> float:
        return max(0.0, self._start_again_at - now)
