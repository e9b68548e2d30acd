"""What time it is: this machine's steady clock, set by the TIME that Redis answers with every admit.

All processes that share a Redis then mint attempt ids on one time line, whatever their own clocks say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Runs on the monotonic clock, so a step of the wall clock cannot move it."""

    def __init__(
        self, *, wall_s: Callable[[], float] = time.time, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._steady_s = steady_s
        self._ahead_ms = round((wall_s() - steady_s()) * 1000)  # a guess until Redis has answered once

    def steady_ms(self) -> int:
        """For `correct`, and for what must not jump."""
        return int(self._steady_s() * 1000)

    def now_ms(self) -> int:
        return int(self._steady_s() * 1000) + self._ahead_ms

    def now(self) -> datetime:
        return _EPOCH + timedelta(milliseconds=self.now_ms())

    def correct(self, server_ms: int, sent_steady_ms: int) -> None:
        """Redis said `server_ms` at some moment since `sent_steady_ms`: only what contradicts that is moved.

        A slow answer allows a wide range and so moves nothing; a fast one sets the clock to within its round trip.
        """
        most = server_ms - sent_steady_ms
        least = server_ms - self.steady_ms()
        if self._ahead_ms > most:
            self._ahead_ms = most
        elif self._ahead_ms < least:
            self._ahead_ms = least
