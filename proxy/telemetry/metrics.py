"""Prometheus metrics, summed over the processes of one host through PROMETHEUS_MULTIPROC_DIR.

No label names a tenant, a key or an llm that a client made up. The hot path adds to plain integers; `flush` (once a
second) moves them into Prometheus' files, so a killed process loses at most a second of metrics (never of usage rows).
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from pricing.usage import Usage

_LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One per process. Counters are named by what they count; `/metrics` says what each means."""

    def __init__(self) -> None:
        self._several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self.registry = CollectorRegistry()
        make = self.registry
        self.requests = Counter(
            "synapscale_requests", "Requests by surface and status", ["surface", "status"], registry=make
        )
        self.attempts = Counter(
            "synapscale_attempts", "Settled attempts by outcome", ["provider", "outcome"], registry=make
        )
        self.refusals = Counter("synapscale_refusals", "Refused requests by error code", ["code"], registry=make)
        self.tokens = Counter(
            "synapscale_tokens", "Tokens of settled attempts (input, output)", ["provider", "direction"], registry=make
        )
        self.unpriced = Counter(
            "synapscale_unpriced_attempts", "Attempts without a known price", ["provider"], registry=make
        )
        self.estimated = Counter(
            "synapscale_estimated_attempts",
            "Attempts whose usage the provider did not report: counted by our tokenizer",
            ["provider"],
            registry=make,
        )
        self.bugs = Counter(
            "synapscale_bugs", "Paths that should not be reached: a bug, please report it", ["where"], registry=make
        )
        self.latency = Histogram(
            "synapscale_request_seconds",
            "Time from the head of a request to the last byte of its answer",
            ["surface"],
            buckets=_LATENCY_BUCKETS_S,
            registry=make,
        )
        self.in_flight = _gauge(make, "synapscale_in_flight", "Requests in flight", "livesum")
        self.processes = _gauge(make, "synapscale_processes", "Processes that are up", "livesum", "role")
        self.store_up = _gauge(
            make,
            "synapscale_store_up",
            "1 while every process reaches this store (postgres, redis)",
            "livemin",
            "store",
        )
        self.postgres_connections = _gauge(
            make, "synapscale_postgres_connections", "Connections of our pools (used, idle, limit)", "livesum", "state"
        )
        self.redis_memory = _gauge(
            make,
            "synapscale_redis_memory_bytes",
            "Memory of Redis (used, max); max 0: no limit is set",
            "livemax",
            "what",
        )
        self.stream_entries = _gauge(
            make, "synapscale_stream_entries", "Entries in the usage stream, written ones included", "livemax", "shard"
        )
        self.stream_oldest = _gauge(
            make,
            "synapscale_stream_oldest_seconds",
            "Age of the oldest entry that is not in the ledger",
            "livemax",
            "shard",
        )
        self.spool_folder_bytes = _gauge(
            make,
            "synapscale_spool_folder_bytes",
            "Size of the spool folder, files of dead processes included",
            "livemax",
        )
        self.spooled = Counter(
            "synapscale_spooled_events", "Events written to the spool because Redis did not answer", registry=make
        )
        self.spool_bytes = _gauge(
            make, "synapscale_spool_bytes", "Bytes that wait in the spools of living gateways", "livesum"
        )
        self.ledger_entries = Counter(
            "synapscale_ledger_entries",
            "Stream entries that were written (inserted, changed) or were there already (repeated)",
            ["result"],
            registry=make,
        )
        self.ledger_failures = Counter(
            "synapscale_ledger_failures", "Batches that were rolled back and wait, by reason", ["why"], registry=make
        )
        self.ledger_lag = _gauge(
            make,
            "synapscale_ledger_lag_seconds",
            "How far the ledger writer is behind, by its own account",
            "livemax",
            "shard",
        )
        self.ledger_pending = _gauge(
            make, "synapscale_ledger_pending", "Entries read and not yet committed", "livemax", "shard"
        )
        self.ledger_unknown = _gauge(
            make, "synapscale_ledger_unknown", "Entries of a newer version, kept for a newer worker", "livemax", "shard"
        )
        self.dead_letters = Counter(
            "synapscale_dead_letters", "Entries that could not be written: they are in no bill", registry=make
        )
        self.alerts_firing = _gauge(
            make, "synapscale_alerts_firing", "Alerts that fire, by kind: synapscale alerts", "livemax", "kind"
        )
        self.swept = Counter(
            "synapscale_swept_attempts", "Attempts of dead processes that were settled as abandoned", registry=make
        )
        self.seeded = Counter(
            "synapscale_seeded_shards", "Shards of Redis that were found empty and made usable", registry=make
        )
        self.adopted = Counter(
            "synapscale_adopted_spool_lines",
            "Lines of dead processes' spools (sent, damaged)",
            ["result"],
            registry=make,
        )
        self._adds: defaultdict[tuple[Counter, tuple[str, ...]], int] = defaultdict(int)
        self._seconds: list[tuple[str, int, float]] = []
        self._attempts: list[tuple[str, str, Usage, bool, str]] = []

    def add(self, counter: Counter, *labels: str, by: int = 1) -> None:
        """Counts in plain memory until the next `flush`."""
        self._adds[(counter, labels)] += by

    def took(self, surface: str, status: int, seconds: float) -> None:
        """One request."""
        self._seconds.append((surface, status, seconds))

    def attempt(self, provider: str, outcome: str, usage: Usage, priced: bool, source: str) -> None:
        """One settled attempt."""
        self._attempts.append((provider, outcome, usage, priced, source))

    def flush(self) -> None:
        attempts, self._attempts = self._attempts, []
        for provider, outcome, usage, priced, source in attempts:
            self.add(self.attempts, provider, outcome)
            input_tokens, _, output_tokens = usage.totals()
            self.add(self.tokens, provider, "input", by=input_tokens)
            self.add(self.tokens, provider, "output", by=output_tokens)
            if not priced:
                self.add(self.unpriced, provider)
            if source == "estimated":
                self.add(self.estimated, provider)
        seconds, self._seconds = self._seconds, []
        for surface, status, value in seconds:
            self.add(self.requests, surface, str(status))
            self.latency.labels(surface).observe(value)
        adds, self._adds = self._adds, defaultdict(int)
        for (counter, labels), by in adds.items():
            (counter.labels(*labels) if labels else counter).inc(by)

    def render(self) -> bytes:
        """Prometheus' text format, over all processes that share the directory."""
        self.flush()
        if not self._several:
            return generate_latest(self.registry)
        everyone = CollectorRegistry()
        multiprocess.MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _gauge(
    registry: CollectorRegistry, name: str, what: str, mode: Literal["livesum", "livemax", "livemin"], *labels: str
) -> Gauge:
    """`mode`: how the values of living processes become one."""
    return Gauge(name, what, labels, multiprocess_mode=mode, registry=registry)
