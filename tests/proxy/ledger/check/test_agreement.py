"""Prices set afterwards, re-rating, refunds and credits by the real API leave a ledger that agrees with itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy.ledger.check.verify import verify
from proxy.storage.postgres import Connection
from tests.gateway import RunningGateway
from tests.populated import populate

ALWAYS = "2020-01-01T00:00:00Z"


async def agrees(db: Connection) -> None:
    findings = [finding async for finding in verify(db)]
    assert not {each.check.name: each.examples for each in findings if each.differences}


async def priced(up: RunningGateway, price: dict[str, str]) -> int:
    """The llm without a price gets one, from always on, and everything is priced again. How much changed."""
    sent = {"llm": "unpriced", "price": price, "effective_from": ALWAYS}
    await up.api("prices", method="POST", json=sent, status=201)
    changed, after = 0, None
    while True:
        wanted = {"from": ALWAYS, "to": "2100-01-01T00:00:00Z", "reason": "a price was missing"}
        done: dict[str, Any] = await up.api(
            "billing/rerate", method="POST", json=wanted | ({"after": after} if after else {}), status=200
        )
        changed += done["changed"]
        after = done["next"]
        if after is None:
            return changed


async def test_what_the_api_corrects(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async def finish(up: RunningGateway, db: Connection) -> None:
        await agrees(db)
        dear = {"input": "0.77", "cache_read": "0.11", "output": "3.33"}
        assert await priced(up, dear) > 0
        await agrees(db)
        assert await priced(up, dear) == 0  # twice changes nothing
        attempts = await db.fetch(
            "SELECT DISTINCT ON (llm) 'att_' || replace(attempt_id::text, '-', '') AS id FROM usage_events"
            " JOIN billing_events USING (attempt_id) WHERE amount_pusd > 0 AND kind IN ('usage', 'platform_fee')"
            " ORDER BY llm, attempt_id DESC"
        )
        for row in attempts:
            await up.api("billing/refunds", method="POST", json={"attempt_id": row["id"], "reason": "sorry"})
        (workspace,) = (await up.api("workspaces"))["data"]
        credit = {"workspace_id": workspace["id"], "amount_usd": "1.50", "reason": "goodwill"}
        await up.api("billing/credits", method="POST", json=credit, status=201)
        assert await db.fetchval("SELECT count(*) FROM billing_events WHERE kind = 'refund'") >= 3
        await agrees(db)
        # Cheaper now: what was refunded of the dearer price is taken back in part.
        assert await priced(up, {"input": "0.07", "cache_read": "0.01", "output": "0.33"}) > 0
        await agrees(db)

    await populate(database_url, redis_url, tmp_path, finish)
