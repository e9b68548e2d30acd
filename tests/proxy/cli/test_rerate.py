"""`synapscale rerate`: batch after batch until the gateway says that all of it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.cli.client import Api

Cli = Callable[..., Awaitable[Any]]


def batch(next: str | None, **counts: Any) -> dict[str, Any]:
    return {
        "object": "rerate", "dry_run": False, "examined": 10, "left": 0, "changed": 2, "became_priced": 1, "unpriced": 0,
        "list_difference_usd": "0.10", "charge_difference_usd": "-0.000000000001", "next": next, **counts,
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each call was asked with; three batches, of which the second has what is told."""
    calls: list[dict[str, Any]] = []
    answers = iter([batch("2026-03-02"), batch("2026-03-03", left=4, unpriced=5), batch(None)])

    def post(self: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
        calls.append({"path": path, **body})
        return next(answers)

    monkeypatch.setattr(Api, "post", post)
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-x")
    return calls


async def test_all_batches_are_added_up(cli: Cli, asked: list[dict[str, Any]]) -> None:
    ran = await cli("rerate", "--from", "2026-03-01", "--to", "2026-03-31", "--llm", "m", "--json")
    assert ran.json == {
        "dry_run": False, "examined": 30, "changed": 6, "became_priced": 3, "unpriced": 5, "left": 4,
        "list_difference_usd": "0.30", "charge_difference_usd": "-0.000000000003",
    }  # fmt: skip
    assert [call["after"] for call in asked] == [None, "2026-03-02", "2026-03-03"]
    assert asked[0] == asked[0] | {
        "path": "billing/rerate", "from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "llm": "m", "dry_run": False,
    }  # fmt: skip
    assert "4 were abandoned" in ran.err and "5 still have no known price" in ran.err


async def test_a_dry_run_says_so(cli: Cli, asked: list[dict[str, Any]]) -> None:
    ran = await cli("rerate", "--from", "7d", "--dry-run")
    assert all(call["dry_run"] for call in asked) and "Nothing was changed" in ran.err


async def test_it_needs_a_beginning(cli: Cli) -> None:
    ran = await cli("rerate")
    assert ran.code == 2 and "--from" in ran.err
