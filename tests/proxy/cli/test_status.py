"""`synapscale status`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from proxy.cli.status import figures
from proxy.server.health import add_health
from proxy.telemetry.metrics import Metrics

Cli = Callable[..., Awaitable[Any]]


@pytest.fixture
async def checks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, str | None]]:
    """What a gateway says of itself; a test changes it."""
    state: dict[str, str | None] = {"redis": None, "postgres": None}

    async def look() -> dict[str, str | None]:
        return state

    metrics = Metrics()
    metrics.add(metrics.requests, "chat", "200", by=2)
    metrics.add(metrics.requests, "chat", "404")
    app = web.Application()
    add_health(app, metrics, look, "1.2.3")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("SYNAPSCALE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield state
    await runner.cleanup()


async def test_ready_needs_no_key(cli: Cli, checks: dict[str, str | None]) -> None:
    ran = await cli("status")
    assert ran.code == 0 and ran.out.splitlines()[0].startswith("SynapScale 1.2.3 at http://127.0.0.1:")
    assert ran.out.splitlines()[0].endswith(": ready")
    assert (await cli("status", "--json")).json["figures"]["requests"] == "3"


async def test_not_ready_is_1_and_says_why(cli: Cli, checks: dict[str, str | None]) -> None:
    checks["redis"] = "no answer for 3 s"
    ran = await cli("status")
    assert ran.code == 1 and "not ready: redis: no answer for 3 s." in ran.err and "synapscale doctor" in ran.err
    assert "not ready" in ran.out


async def test_variables_for_a_shell(cli: Cli) -> None:
    ran = await cli("status", "--env", "--url", "http://gateway:4000/v1")
    assert ran.out == "export OPENAI_BASE_URL=http://gateway:4000/v1 SYNAPSCALE_URL=http://gateway:4000\n"


def test_figures_are_summed_over_labels() -> None:
    text = (
        "# HELP synapscale_refusals_total x\nsynapscale_refusals_total{code=\"a b\"} 2.0\n"
        "synapscale_refusals_total{code=\"c\"} 1.0\nsynapscale_ledger_lag_seconds 0.25\n"
        "synapscale_refusals_created{code=\"c\"} 1.7e+09\n"
    )
    assert figures(text) == {"refused": "3", "ledger lag s": "0.25"}
