"""`synapscale status`: is it up, what is it doing, how far is the ledger. Needs no key."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from proxy.cli.client import Connection, json_object, unreachable
from proxy.cli.fault import Fault
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, Json, Url
from proxy.cli.output import plain, show_json
from proxy.cli.where import gateway

# Shown name → metric, summed over its labels.
FIGURES = {
    "in flight": "synapscale_in_flight",
    "requests": "synapscale_requests_total",
    "refused": "synapscale_refusals_total",
    "ledger lag s": "synapscale_ledger_lag_seconds",
    "spool bytes": "synapscale_spool_bytes",
    "dead letters": "synapscale_dead_letters_total",
    "unpriced": "synapscale_unpriced_attempts_total",
    "abandoned": "synapscale_swept_attempts_total",
}
_SAMPLE = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


def status(
    url: Url = None, ca_file: CaFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
    env: Annotated[bool, typer.Option("--env", help="Print variables for a shell to eval.")] = False,
) -> None:
    """Show version, readiness and figures since the start. Exit 1 when the gateway is not ready."""
    place = gateway(url, ca_file, data_dir)
    base = place.base
    if env:
        print(f"export OPENAI_BASE_URL={base}/v1 SYNAPSCALE_URL={base}")
        return
    connection = Connection(place, None)
    try:
        version = json_object(_get(connection, "/health/live"), base).get("version", "?")
        ready = json_object(_get(connection, "/health/ready"), base)
        found = figures(_get(connection, "/metrics").decode(errors="replace"))
    finally:
        connection.close()
    state, checks = str(ready.get("status", "unknown")), ready.get("checks", {})
    if as_json:
        show_json({"url": base, "version": version, "status": state, "checks": checks, "figures": found})
    else:
        print(f"SynapScale {plain(str(version))} at {base}: {plain(state).replace('_', ' ')}")
        for name, value in found.items():
            print(f"{name:<14}{value}")
    if state != "ready":
        raise _not_ready(checks)


def figures(metrics: str) -> dict[str, str]:
    """From Prometheus' text; what is not there was not counted yet. A figure is no money: floats do."""
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(metrics):
        sums[name] = sums.get(name, 0.0) + float(value)
    return {shown: f"{sums[metric]:g}" for shown, metric in FIGURES.items() if metric in sums}


def _get(connection: Connection, path: str) -> bytes:
    """503 is an answer here: it says what is wrong."""
    answer = connection.send("GET", path)
    try:
        return answer.read()
    except OSError as error:
        raise unreachable(connection.base, error) from None


def _not_ready(checks: dict[str, Any]) -> Fault:
    wrong = "; ".join(f"{plain(str(name))}: {plain(str(what))}" for name, what in checks.items() if what != "ok")
    return Fault(f"The gateway is not ready: {wrong or 'it does not say why'}.", next_step="synapscale doctor")
