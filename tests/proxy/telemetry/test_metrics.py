"""Every metric is documented, none names a tenant, and processes that share a folder are added up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from proxy.telemetry.metrics import Metrics

REPOSITORY = Path(__file__).parents[3]
KINDS: dict[type[MetricWrapperBase], str] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
# Each has few values that no client and no tenant chooses.
LABELS = {
    "code", "direction", "kind", "outcome", "provider", "result", "role", "shard", "state", "status", "store", "surface", "what",
    "where", "why",
}


def of_code() -> dict[str, tuple[str, str, str]]:
    """Name as it is scraped → kind, labels, meaning."""
    found = {}
    for each in vars(Metrics()).values():
        if isinstance(each, MetricWrapperBase):
            name = each._name + ("_total" if isinstance(each, Counter) else "")
            found[name] = (KINDS[type(each)], ", ".join(each._labelnames), each._documentation)
    return found


def of_document() -> dict[str, tuple[str, str, str]]:
    text = (REPOSITORY / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(synapscale_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", text, re.MULTILINE)
    return {name: (kind, labels.replace("`", "").strip(), meaning) for name, kind, labels, meaning in rows}


def test_the_document_says_what_the_code_says() -> None:
    assert of_document() == of_code()


def test_what_the_document_asks_prometheus_for_is_there() -> None:
    """In alert rules and in prose."""
    text = (REPOSITORY / "docs/operations.md").read_text()
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bsynapscale_[a-z_]+\b", text)}
    assert asked <= of_code().keys()


def test_no_label_could_name_a_tenant() -> None:
    used = {label for _, labels, _ in of_code().values() for label in labels.split(", ") if label}
    assert used <= LABELS


CHILD = """
import sys
from proxy.telemetry.metrics import Metrics
metrics = Metrics()
metrics.processes.labels(sys.argv[1]).set(1)
metrics.store_up.labels("redis").set(int(sys.argv[2]))
metrics.stream_oldest.labels("0").set(int(sys.argv[3]))
metrics.in_flight.set(2)
metrics.add(metrics.requests, "chat", "200", by=10)
metrics.flush()
"""
SCRAPE = "from proxy.telemetry.metrics import Metrics; import sys; sys.stdout.buffer.write(Metrics().render())"


def test_processes_of_one_folder_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums where things add up, the worst where one is enough; of a dead process the counters stay."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for role, up, oldest in (("gateway", "1", "3"), ("gateway", "1", "7"), ("worker", "0", "5")):
        subprocess.run([sys.executable, "-c", CHILD, role, up, oldest], check=True, cwd=REPOSITORY)
    text = subprocess.run([sys.executable, "-c", SCRAPE], check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout
    lines = text.splitlines()
    for wanted in (
        'synapscale_processes{role="gateway"} 2.0', 'synapscale_processes{role="worker"} 1.0',
        'synapscale_store_up{store="redis"} 0.0', 'synapscale_stream_oldest_seconds{shard="0"} 7.0',
        "synapscale_in_flight 6.0", 'synapscale_requests_total{status="200",surface="chat"} 30.0',
    ):
        assert wanted in lines, text
    for path in tmp_path.glob("gauge_live*.db"):
        path.unlink()  # as the supervisor does for a dead process
    text = subprocess.run([sys.executable, "-c", SCRAPE], check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout
    assert "synapscale_processes{" not in text and 'synapscale_requests_total{status="200",surface="chat"} 30.0' in text
