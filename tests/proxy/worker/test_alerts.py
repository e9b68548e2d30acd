"""What is wrong in the ledger raises an alert, and what is right again ends it."""

from __future__ import annotations

from typing import Any

from proxy.storage.postgres import Pool
from proxy.telemetry.metrics import Metrics
from proxy.worker.alerts import AlertsLoop

DAY = """
INSERT INTO usage_daily (day, workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier,
                         unit, quantity, list_pusd, charge_pusd)
VALUES ($1::text::date, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), $2, 'openai',
        'global', '', $3, $4, 0, 0)
"""


async def alerts(pool: Pool, kind: str) -> list[tuple[Any, ...]]:
    rows = await pool.fetch(
        "SELECT subject, resolved_at IS NULL AS firing, message FROM alerts WHERE kind = $1 ORDER BY raised_at, subject",
        kind,
    )
    return [tuple(row.values()) for row in rows]


async def test_unpriced_attempts(pool: Pool) -> None:
    metrics = Metrics()
    loop = AlertsLoop(pool, metrics)
    for day, llm, unit, quantity in (
        ("2026-03-01", "a", "unpriced", 0), ("2026-03-02", "a", "unpriced", 2), ("2026-03-03", "a", "unpriced", 1),
        ("2026-03-02", "b", "unpriced", 0), ("2026-03-02", "c", "requests", 5),
    ):  # fmt: skip
        await pool.execute(DAY, day, llm, unit, quantity)
    await loop.look()
    ((subject, firing, message),) = await alerts(pool, "unpriced")
    assert (subject, firing) == ("openai/a", True)
    assert "3 attempts of a at openai since 2026-03-02" in message
    assert b'synapscale_alerts_firing{kind="unpriced"} 1.0' in metrics.render()
    await pool.execute("UPDATE usage_daily SET quantity = 0 WHERE unit = 'unpriced'")
    await loop.look()
    assert [firing for _, firing, _ in await alerts(pool, "unpriced")] == [False]
    assert b'synapscale_alerts_firing{kind="unpriced"} 0.0' in metrics.render()


async def test_dead_letters(pool: Pool) -> None:
    loop = AlertsLoop(pool, Metrics())
    await loop.look()
    assert await alerts(pool, "dead_letters") == []
    await pool.execute("INSERT INTO dead_letters (shard, entry_id, payload, error) VALUES (0, '1-1', '', 'x')")
    await loop.look()
    await loop.look()
    assert [firing for _, firing, _ in await alerts(pool, "dead_letters")] == [True]
    await pool.execute("DELETE FROM dead_letters")
    await loop.look()
    assert [firing for _, firing, _ in await alerts(pool, "dead_letters")] == [False]


async def test_one_worker_looks_at_a_time(pool: Pool) -> None:
    await pool.execute(DAY, "2026-03-02", "a", "unpriced", 2)
    async with pool.acquire() as db, db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(1634494066, 0)")
        await AlertsLoop(pool, Metrics()).look()
        assert await alerts(pool, "unpriced") == []
    await AlertsLoop(pool, Metrics()).look()
    assert len(await alerts(pool, "unpriced")) == 1
