"""The running gateway, asked like any client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proxy.cli.checks.finding import Finding, bad, ok, warn
from proxy.cli.client import Api, Connection
from proxy.cli.fault import Fault
from proxy.cli.output import plain
from proxy.cli.where import Gateway, management_key


def ready(gateway: Gateway) -> list[Finding]:
    """No key is sent: health needs none."""
    base = gateway.base
    try:
        connection = Connection(gateway, None)
    except Fault as fault:
        return [bad("gateway", fault.message, fault.next_step or "another address with --url")]
    try:
        answer = connection.send("GET", "/health/ready")
        found = json.loads(answer.read())
        return readiness(base, found)
    except Fault as fault:
        return [bad("gateway", fault.message, fault.next_step or "synapscale serve")]
    except (OSError, ValueError, TypeError):
        return [bad("gateway", f"{base} answers, but is no SynapScale", "another address with --url")]
    finally:
        connection.close()


def keys_of_gateway(gateway: Gateway, data_dir: Path) -> Finding:
    """Those that it was started with: what this shell holds may be others."""
    check = "gateway's keys"
    try:
        rows = list(Api(gateway, management_key(None, data_dir)).rows("providers", limit=1_000))
    except Fault as fault:
        return warn(check, f"not looked at: {fault.message}", fault.next_step or "SYNAPSCALE_KEY")
    present = [plain(str(row.get("name"))) for row in rows if row.get("has_global_key")]
    if not present:
        return warn(
            check, "it has no provider's key: only synapscale/echo, keyless servers and own keys work",
            "start it with the variables that config.yaml names as api_key, such as OPENAI_API_KEY",
        )
    return ok(check, ", ".join(present))


def readiness(base: str, found: dict[str, Any]) -> list[Finding]:
    wrong = {str(name): what for name, what in found.get("checks", {}).items() if what != "ok"}
    if found.get("status") == "ready":
        return [ok("gateway", f"{base} is ready")]
    text = "; ".join(f"{plain(name)}: {plain(str(what))}" for name, what in wrong.items()) or "it does not say why"
    return [bad("gateway", f"{base} is not ready: {text}", "see the stores below, then the gateway's log")]
