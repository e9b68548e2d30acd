"""What the loops tell whoever watches them."""

from __future__ import annotations

from typing import Protocol


class WorkerMetrics(Protocol):
    def swept(self, count: int) -> None:
        """Attempts whose process died, settled as abandoned."""

    def seeded(self, shard: int) -> None:
        """A shard was found without gen (flushed, replaced) and made usable again."""

    def adopted(self, records: int, damaged: int) -> None:
        """Lines of dead processes' spools: sent again, and unreadable."""
