from __future__ import annotations

from typing import Any

from proxy.alerts import store
from proxy.alerts.kinds import FIXES
from tests.proxy.api.conftest import Api, Tenant


async def test_the_platform_sees_all_and_a_workspace_its_own(api: Api, acme: Tenant, rival: Tenant) -> None:
    async with api.deployment.pool.acquire() as db:
        for kind, subject, workspace_id in (
            ("unpriced", "openai/a", None), ("dead_letters", "ledger", None), ("unpriced", "own", acme.workspace),
        ):  # fmt: skip
            await store.raise_alert(
                db, kind, subject, f"about {subject}", id=api.deployment.id(), workspace_id=workspace_id  # type: ignore[arg-type]
            )
        await store.resolve(db, "dead_letters", "ledger")

    async def subjects(query: str = "", **options: Any) -> list[str]:
        return [row["subject"] for row in (await api.ok("GET", f"/alerts?order=asc&{query}", **options))["data"]]

    assert await subjects() == ["openai/a", "ledger", "own"]
    assert await subjects("state=firing") == ["openai/a", "own"]
    assert await subjects("state=resolved") == ["ledger"]
    assert await subjects("kind=unpriced") == ["openai/a", "own"]
    assert await subjects(f"workspace_id={acme.ws}") == ["own"]
    assert await subjects(key=acme.owner) == ["own"]
    assert await subjects(key=rival.owner) == []
    assert (await api.get("/alerts?kind=fire")).status == 400
    (row,) = (await api.ok("GET", "/alerts", key=acme.owner))["data"]
    assert row == row | {
        "object": "alert", "kind": "unpriced", "state": "firing", "message": "about own", "fix": FIXES["unpriced"],
        "resolved_at": None,
    }  # fmt: skip
