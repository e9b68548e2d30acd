"""SQL that counts events a second time and compares `usage_hourly` and `usage_daily` with it."""

from __future__ import annotations

from proxy.ledger.check.check import Check
from proxy.ledger.check.current import CURRENT

_KEYS = "workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit"
_COUNTED = f"""
    SELECT <part> AS part, workspace_id, user_id, virtual_key_id,
           coalesce(agent_id, '00000000-0000-0000-0000-000000000000') AS agent_id, llm, provider, key_source, service_tier,
           unit, sum(quantity) AS quantity, sum(list_pusd) AS list_pusd, sum(charge_pusd) AS charge_pusd
    FROM (SELECT e.occurred_at, e.workspace_id, e.user_id, e.virtual_key_id, e.agent_id, e.llm, e.provider, e.key_source,
                 e.service_tier, l.*
          FROM ({CURRENT}) e
          CROSS JOIN LATERAL (
              SELECT unit, CASE WHEN unit IN ('requests', 'errors', 'unpriced', 'reasoning') THEN 0 ELSE quantity END
                     AS quantity, list_pusd, charge_pusd
              FROM unnest(e.units, e.quantities, e.line_list_pusd, e.line_charge_pusd)
                  AS l (unit, quantity, list_pusd, charge_pusd)
              UNION ALL SELECT 'requests', 1, 0, 0
              UNION ALL SELECT 'errors', 1, 0, 0 WHERE e.outcome IN ('upstream_error', 'abandoned')
              UNION ALL SELECT 'unpriced', 1, 0, 0 WHERE e.pricing = 'unpriced'
              UNION ALL SELECT 'reasoning', e.reasoning_tokens, 0, 0 WHERE e.reasoning_tokens > 0) l) e
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    HAVING sum(quantity) <> 0 OR sum(list_pusd) <> 0 OR sum(charge_pusd) <> 0
"""  # noqa: S608
_COMPARED = f"""
SELECT concat_ws(' ', part, {_KEYS}) AS subject,
       'quantity ' || coalesce(k.quantity, 0) || ', counted ' || coalesce(c.quantity, 0) || '; list '
       || coalesce(k.list_pusd, 0) || ', counted ' || coalesce(c.list_pusd, 0) || '; charge '
       || coalesce(k.charge_pusd, 0) || ', counted ' || coalesce(c.charge_pusd, 0) AS says
FROM ({_COUNTED}) c
FULL JOIN (SELECT <column> AS part, {_KEYS}, quantity, list_pusd, charge_pusd FROM <table> WHERE <within>) k
    USING (part, {_KEYS})
WHERE coalesce(k.quantity, 0) <> coalesce(c.quantity, 0) OR coalesce(k.list_pusd, 0) <> coalesce(c.list_pusd, 0)
   OR coalesce(k.charge_pusd, 0) <> coalesce(c.charge_pusd, 0)
"""  # noqa: S608
_HOURS = (
    _COMPARED.replace("<part>", "date_trunc('hour', occurred_at, 'UTC')")
    .replace("<table>", "usage_hourly")
    .replace("<column>", "hour")
    .replace("<within>", "hour >= $1 AND hour < $2")
)
_OF_DAYS = "day >= ($1 AT TIME ZONE 'UTC')::date AND day < ($2 AT TIME ZONE 'UTC')::date"
_DAYS = (
    _COMPARED.replace("<part>", "(occurred_at AT TIME ZONE 'UTC')::date")
    .replace("<table>", "usage_daily")
    .replace("<column>", "day")
    .replace("<within>", _OF_DAYS)
)

CHECKS = (
    Check(
        "hours", "The sums of an hour are those of its events.", "day",
        "SELECT count(*) FROM usage_hourly WHERE hour >= $1 AND hour < $2", _HOURS,
    ),
    Check(
        "days", "The sums of a day are those of its events.", "day",
        f"SELECT count(*) FROM usage_daily WHERE {_OF_DAYS}", _DAYS,  # noqa: S608
    ),
)  # fmt: skip
