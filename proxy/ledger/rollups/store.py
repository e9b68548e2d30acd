"""What a batch did to `usage_events`, added to `usage_hourly` and `usage_daily`; and what alerts ask of them."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from proxy.storage.postgres import Connection

_COMMAND_TIMEOUT_S = 90.0


async def add_delta(conn: Connection) -> None:
    """Inside the batch's transaction: reads the temp table ledger_delta_2 (ledger/store.py)."""
    await conn.execute(_ROLL_UP, timeout=_COMMAND_TIMEOUT_S)


class Unpriced(NamedTuple):
    """Attempts of one llm at one provider that have no known price, as of now."""

    llm: str
    provider: str
    attempts: int
    since: date  # the first day that has some


async def unpriced(conn: Connection) -> list[Unpriced]:
    """Of all time: what was priced since is no longer among them. Reads its own small index, days net of 0 stay out."""
    rows = await conn.fetch(_UNPRICED, timeout=_COMMAND_TIMEOUT_S)
    return [Unpriced(row["llm"], row["provider"], int(row["attempts"]), row["since"]) for row in rows]


_UNPRICED = """
SELECT llm, provider, sum(quantity) AS attempts, min(day) FILTER (WHERE quantity > 0) AS since
FROM usage_daily WHERE unit = 'unpriced'
GROUP BY llm, provider HAVING sum(quantity) > 0
ORDER BY llm, provider
"""

# Per row: its lines, one request, an error and an unpriced one if it was that, its reasoning. A line may be a fee per
# request: it adds its money to the unit 'requests', whose quantity counts rows. Keys in order, so that no two writers
# wait for each other.
_ROLL_UP = """
WITH lines AS (
    SELECT d.occurred_at, d.workspace_id, d.user_id, d.virtual_key_id,
           coalesce(d.agent_id, '00000000-0000-0000-0000-000000000000') AS agent_id,
           d.llm, d.provider, d.key_source, d.service_tier, l.unit,
           d.sign * l.quantity::numeric AS quantity, d.sign * l.list_pusd::numeric AS list_pusd,
           d.sign * l.charge_pusd::numeric AS charge_pusd
    FROM ledger_delta_2 d
    CROSS JOIN LATERAL (
        SELECT u.unit, CASE WHEN u.unit IN ('requests', 'errors', 'unpriced', 'reasoning') THEN 0 ELSE u.quantity END
               AS quantity, u.list_pusd, u.charge_pusd
        FROM unnest(d.units, d.quantities, d.line_list_pusd, d.line_charge_pusd)
            AS u (unit, quantity, list_pusd, charge_pusd)
        UNION ALL SELECT 'requests', 1, 0, 0
        UNION ALL SELECT 'errors', 1, 0, 0 WHERE d.outcome IN ('upstream_error', 'abandoned')
        UNION ALL SELECT 'unpriced', 1, 0, 0 WHERE d.pricing = 'unpriced'
        UNION ALL SELECT 'reasoning', d.reasoning_tokens, 0, 0 WHERE d.reasoning_tokens IS NOT NULL
    ) l
), hours AS (
    SELECT date_trunc('hour', occurred_at, 'UTC') AS hour, workspace_id, user_id, virtual_key_id, agent_id, llm,
           provider, key_source, service_tier, unit,
           sum(quantity) AS quantity, sum(list_pusd) AS list_pusd, sum(charge_pusd) AS charge_pusd
    FROM lines
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    HAVING sum(quantity) <> 0 OR sum(list_pusd) <> 0 OR sum(charge_pusd) <> 0
), hourly AS (
    INSERT INTO usage_hourly AS r (hour, workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source,
                                   service_tier, unit, quantity, list_pusd, charge_pusd)
    SELECT hour, workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit,
           quantity, list_pusd, charge_pusd
    FROM hours
    ORDER BY workspace_id, hour, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit
    ON CONFLICT (workspace_id, hour, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit)
    DO UPDATE SET quantity = r.quantity + excluded.quantity, list_pusd = r.list_pusd + excluded.list_pusd,
                  charge_pusd = r.charge_pusd + excluded.charge_pusd
)
INSERT INTO usage_daily AS r (day, workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source,
                              service_tier, unit, quantity, list_pusd, charge_pusd)
SELECT (hour AT TIME ZONE 'UTC')::date AS day, workspace_id, user_id, virtual_key_id, agent_id, llm, provider,
       key_source, service_tier, unit, sum(quantity), sum(list_pusd), sum(charge_pusd)
FROM hours
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
ORDER BY workspace_id, day, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit
ON CONFLICT (workspace_id, day, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit)
DO UPDATE SET quantity = r.quantity + excluded.quantity, list_pusd = r.list_pusd + excluded.list_pusd,
              charge_pusd = r.charge_pusd + excluded.charge_pusd
"""
