"""The events that Redis acknowledged lately: a failover may lose its last second, and then they are sent again."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple
from uuid import UUID


class Kept(NamedTuple):
    at_s: float
    shard: int
    attempt_id: UUID
    event: bytes


class Ring:
    """Bounded by age, count and bytes: whatever is too much goes out at the old end."""

    def __init__(self, *, window_s: float = 60.0, max_events: int = 50_000, max_bytes: int = 64 << 20) -> None:
        self._window_s = window_s
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._kept: deque[Kept] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, now_s: float, shard: int, attempt_id: UUID, event: bytes) -> None:
        kept = self._kept
        kept.append(Kept(now_s, shard, attempt_id, event))
        self.bytes += len(event)
        oldest_s = now_s - self._window_s
        while kept and (kept[0].at_s < oldest_s or len(kept) > self._max_events or self.bytes > self._max_bytes):
            self.bytes -= len(kept.popleft().event)

    def of_shard(self, shard: int, now_s: float) -> list[Kept]:
        """Those inside the window, oldest first."""
        oldest_s = now_s - self._window_s
        return [kept for kept in self._kept if kept.shard == shard and kept.at_s >= oldest_s]
