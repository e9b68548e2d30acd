"""SQL that the stores of this room share: the figures of an attempt that count now, all that it ever had, and rounding."""

from __future__ import annotations

# A correction counts for the row that it was made for: a row that changed since counts itself.
CURRENT = """
    SELECT e.workspace_id, e.attempt_id, e.occurred_at, e.user_id, e.virtual_key_id, e.agent_id, e.llm, e.provider,
           e.key_source, e.provider_account, e.outcome,
           coalesce(c.service_tier, e.service_tier) AS service_tier,
           CASE WHEN c.number IS NULL THEN e.reasoning_tokens ELSE c.reasoning_tokens END AS reasoning_tokens,
           coalesce(c.units, e.units) AS units, coalesce(c.quantities, e.quantities) AS quantities,
           coalesce(c.line_list_pusd, e.line_list_pusd) AS line_list_pusd,
           coalesce(c.line_charge_pusd, e.line_charge_pusd) AS line_charge_pusd,
           coalesce(c.list_pusd, e.list_pusd) AS list_pusd, coalesce(c.charge_pusd, e.charge_pusd) AS charge_pusd,
           coalesce(c.pricing, e.pricing) AS pricing
    FROM usage_events e
    LEFT JOIN LATERAL (
        SELECT * FROM usage_corrections c
        WHERE c.workspace_id = e.workspace_id AND c.attempt_id = e.attempt_id AND c.row_recorded_at = e.recorded_at
        ORDER BY c.number DESC LIMIT 1
    ) c ON true
    WHERE e.occurred_at >= $1 AND e.occurred_at < $2
"""

# Rows and corrections alike: whatever was ever recorded must be right in itself. `number` 0: the row.
_FIGURES = """
    workspace_id, attempt_id, occurred_at, service_tier, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
    usage_inconsistent, units, quantities, price_item_ids, line_list_pusd, line_charge_pusd, list_pusd, charge_pusd,
    charge_kind, charge_bps, charge_reason, pricing
"""
FIGURES = (
    "SELECT 0 AS number, recorded_at AS of_row, provider_account,"
    + _FIGURES
    + "FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2"
    + " UNION ALL SELECT number, row_recorded_at, NULL,"
    + _FIGURES
    + "FROM usage_corrections WHERE occurred_at >= $1 AND occurred_at < $2"
)
# How a set of figures is named in a difference.
NAMED = "f.attempt_id || CASE f.number WHEN 0 THEN '' ELSE ' correction ' || f.number END"
COUNT_FIGURES = """
SELECT (SELECT count(*) FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2)
     + (SELECT count(*) FROM usage_corrections WHERE occurred_at >= $1 AND occurred_at < $2)
"""
COUNT_EVENTS = "SELECT count(*) FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2"

# The moment inside a uuid7: 48 bits of milliseconds.
MOMENT = (
    "('epoch'::timestamptz + ('x' || left(replace({id}::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond')"
)


def half_even(numerator: str, denominator: str) -> str:
    """The nearest integer, a tie to the even one; both expressions are numeric, whole and not negative."""
    n, d = f"({numerator})", f"({denominator})"
    rest, quotient = f"mod({n}, {d})", f"div({n}, {d})"
    return (
        f"({quotient} + CASE WHEN 2 * {rest} > {d} OR (2 * {rest} = {d} AND mod({quotient}, 2) = 1) THEN 1 ELSE 0 END)"
    )
