"""What the ledger tells whoever watches it."""

from __future__ import annotations

from typing import Literal, Protocol

Failure = Literal["postgres_away", "redis_away", "conflict", "poison", "no_partition"]


class LedgerMetrics(Protocol):
    def written(self, *, inserted: int, changed: int, repeated: int) -> None:
        """Entries of a committed batch: new rows, abandoned rows that became final, and those that changed nothing."""

    def buried(self, count: int) -> None:
        """Entries that went to `dead_letters`."""

    def failed(self, why: Failure) -> None:
        """A batch was rolled back; its entries stay pending."""

    def progress(self, shard: int, *, lag_s: float, pending: int, unknown: int) -> None:
        """Age of the oldest entry outside the tables, entries read but not committed, those of an unknown version."""
