"""What the loops tell, as Prometheus metrics and in plain counts for a test to read."""

from __future__ import annotations

from proxy.ledger.metrics import Failure
from proxy.telemetry.metrics import Metrics


class Observed:
    """Fills `LedgerMetrics` and `WorkerMetrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def written(self, *, inserted: int, changed: int, repeated: int) -> None:
        for result, count in (("inserted", inserted), ("changed", changed), ("repeated", repeated)):
            if count:
                self._metrics.add(self._metrics.ledger_entries, result, by=count)

    def buried(self, count: int) -> None:
        self._metrics.add(self._metrics.dead_letters, by=count)

    def failed(self, why: Failure) -> None:
        self._metrics.add(self._metrics.ledger_failures, why)

    def progress(self, shard: int, *, lag_s: float, pending: int, unknown: int) -> None:
        self._metrics.ledger_lag.labels(str(shard)).set(lag_s)
        self._metrics.ledger_pending.labels(str(shard)).set(pending)
        self._metrics.ledger_unknown.labels(str(shard)).set(unknown)

    def swept(self, count: int) -> None:
        self._metrics.add(self._metrics.swept, by=count)

    def seeded(self, shard: int) -> None:
        self._metrics.add(self._metrics.seeded)

    def adopted(self, records: int, damaged: int) -> None:
        if records:
            self._metrics.add(self._metrics.adopted, "sent", by=records)
        if damaged:
            self._metrics.add(self._metrics.adopted, "damaged", by=damaged)
