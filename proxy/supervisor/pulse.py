"""A process that is there and does nothing: its event loop gives no sign of life any more."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_STEP_S = 1.0


class Pulse:
    """Time is an argument. Only time in which we ourselves looked counts: after a pause of the whole machine, or of
    us, nobody is dead."""

    def __init__(self, beat: Callable[[], bool], hung_after_s: float) -> None:
        """`beat`: whether there was a sign since it was last asked. `hung_after_s` 0: never."""
        self._beat = beat
        self._hung_after_s = hung_after_s
        self.restart(0.0)

    def restart(self, now: float) -> None:
        """Of a new process. It is watched from its first sign on: one that gives none is none of ours."""
        self._looked_at = now
        self._silent_s: float | None = None

    def hangs(self, now: float) -> bool:
        step_s = min(now - self._looked_at, LONGEST_STEP_S)
        self._looked_at = now
        if self._beat():
            self._silent_s = 0.0
        elif self._silent_s is not None:
            self._silent_s += step_s
        return bool(self._hung_after_s) and (self._silent_s or 0.0) >= self._hung_after_s
