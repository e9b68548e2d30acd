"""SQL over `usage_events`, `usage_corrections` and the prices that their lines name."""

from __future__ import annotations

from pricing.units import UNITS
from pricing.usage import CACHED_UNITS, INPUT_UNITS, OUTPUT_UNITS
from proxy.ledger.check.check import Check
from proxy.ledger.check.current import COUNT_EVENTS, COUNT_FIGURES, FIGURES, MOMENT, NAMED, half_even

_ONCE = """
SELECT attempt_id::text AS subject, count(*) || ' rows' AS says
FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2
GROUP BY attempt_id HAVING count(*) > 1
"""

_MOMENTS = f"""
SELECT attempt_id::text AS subject, 'occurred_at ' || occurred_at || ', in its id ' || moment AS says
FROM (SELECT attempt_id, occurred_at, {MOMENT.format(id="attempt_id")} AS moment
      FROM usage_events WHERE occurred_at >= $1 AND occurred_at < $2) e
WHERE moment <> occurred_at
"""  # noqa: S608

_LINES_ADD_UP = f"""
SELECT {NAMED} AS subject,
       CASE WHEN whole THEN 'list ' || list_pusd || ', lines ' || lists || '; charge ' || charge_pusd || ', lines ' || charges
            ELSE 'its lines are of different lengths' END AS says
FROM (SELECT f.*,
             cardinality(quantities) = cardinality(units) AND cardinality(price_item_ids) = cardinality(units)
             AND cardinality(line_list_pusd) = cardinality(units)
             AND cardinality(line_charge_pusd) = cardinality(units) AS whole,
             (SELECT coalesce(sum(each), 0) FROM unnest(line_list_pusd) AS l (each)) AS lists,
             (SELECT coalesce(sum(each), 0) FROM unnest(line_charge_pusd) AS l (each)) AS charges
      FROM ({FIGURES}) f) f
WHERE NOT whole OR lists <> list_pusd OR charges <> charge_pusd
"""  # noqa: S608

_CHARGED = half_even("l.list_pusd::numeric * f.charge_bps", "10000::numeric")
_LINE_CHARGES = f"""
SELECT {NAMED} AS subject,
       l.unit || ': charge ' || l.charge_pusd || ', list ' || l.list_pusd || ' at ' || f.charge_bps || ' bps is ' || {_CHARGED}
       AS says
FROM ({FIGURES}) f
CROSS JOIN LATERAL unnest(f.units, f.line_list_pusd, f.line_charge_pusd) AS l (unit, list_pusd, charge_pusd)
WHERE l.charge_pusd <> {_CHARGED}
"""  # noqa: S608

_CHARGE_KINDS = f"""
SELECT {NAMED} AS subject,
       'kind ' || f.charge_kind || ' at ' || f.charge_bps || ' bps, reason ' || quote_literal(f.charge_reason) || ', account '
       || e.provider_account AS says
FROM ({FIGURES}) f
JOIN usage_events e ON e.workspace_id = f.workspace_id AND e.attempt_id = f.attempt_id AND e.occurred_at = f.occurred_at
WHERE (f.charge_kind = 'none') <> (f.charge_reason <> '')
   OR (f.charge_kind = 'none' AND (f.charge_bps <> 0 OR f.charge_pusd <> 0))
   OR (f.charge_kind = 'usage' AND e.provider_account = 'own')
   OR (f.charge_kind = 'platform_fee' AND e.provider_account = 'ours')
"""  # noqa: S608

# A class without a price of its own costs what its fallback does: which item units a unit may be priced by.
_PRICED_BY = ", ".join(
    f"('{unit.name}', '{fallback}')"
    for unit in UNITS.values()
    for fallback in (unit.fallback, UNITS[unit.fallback].fallback if unit.fallback else None)
    if fallback is not None
)
_PRICED = half_even("greatest(l.quantity, i.minimum_units)::numeric * i.price_pusd", "i.per_units::numeric")
_LINE_PRICES = f"""
SELECT {NAMED} AS subject,
       l.unit || ': ' || CASE
           WHEN i.id IS NULL THEN 'its price ' || l.item || ' does not exist'
           WHEN l.list_pusd <> {_PRICED} THEN
               'list ' || l.list_pusd || ', ' || greatest(l.quantity, i.minimum_units) || ' at ' || i.price_pusd || ' per '
               || i.per_units || ' is ' || {_PRICED}
           ELSE 'priced by ' || i.unit || CASE i.variant WHEN '' THEN '' ELSE '/' || i.variant END END AS says
FROM ({FIGURES}) f
CROSS JOIN LATERAL unnest(f.units, f.quantities, f.price_item_ids, f.line_list_pusd) AS l (unit, quantity, item, list_pusd)
LEFT JOIN price_items i ON i.id = l.item
WHERE l.item IS NOT NULL AND (
    i.id IS NULL OR l.list_pusd <> {_PRICED}
    OR NOT (CASE WHEN i.variant <> '' THEN l.unit = i.unit || '/' || i.variant
                 ELSE split_part(l.unit, '/', 1) = i.unit
                      OR (split_part(l.unit, '/', 1), i.unit) IN (VALUES {_PRICED_BY}) END))
"""  # noqa: S608

# An unknown price is not zero: the event says that a line has none, and that line has no amount.
_UNPRICED = f"""
SELECT {NAMED} AS subject,
       f.pricing || ', ' || count(*) FILTER (WHERE l.unit IS NOT NULL AND l.item IS NULL) || ' lines without a price, of which '
       || count(*) FILTER (WHERE l.item IS NULL AND l.list_pusd <> 0) || ' have an amount' AS says
FROM ({FIGURES}) f
LEFT JOIN LATERAL unnest(f.units, f.price_item_ids, f.line_list_pusd) AS l (unit, item, list_pusd) ON true
GROUP BY f.attempt_id, f.number, f.pricing
HAVING (f.pricing = 'unpriced') <> (count(*) FILTER (WHERE l.unit IS NOT NULL AND l.item IS NULL) > 0)
    OR count(*) FILTER (WHERE l.item IS NULL AND l.list_pusd <> 0) > 0
"""  # noqa: S608


def _listed(units: tuple[str, ...]) -> str:
    return ", ".join(f"'{unit}'" for unit in units)


# Not "equal": lines of another model's tokens inside the attempt come on top of what the provider calls its totals.
_TOKENS = f"""
SELECT {NAMED} AS subject,
       'input ' || input_tokens || ', lines ' || inputs || '; cached ' || cached_tokens || ', lines ' || cached
       || '; output ' || output_tokens || ', lines ' || outputs AS says
FROM (SELECT f.*, s.*
      FROM ({FIGURES}) f
      CROSS JOIN LATERAL (
          SELECT coalesce(sum(quantity) FILTER (WHERE unit IN ({_listed(INPUT_UNITS)})), 0) AS inputs,
                 coalesce(sum(quantity) FILTER (WHERE unit IN ({_listed(CACHED_UNITS)})), 0) AS cached,
                 coalesce(sum(quantity) FILTER (WHERE unit IN ({_listed(OUTPUT_UNITS)})), 0) AS outputs
          FROM unnest(f.units, f.quantities) AS l (unit, quantity)) s) f
WHERE inputs < input_tokens OR cached < cached_tokens OR outputs < output_tokens OR cached_tokens > input_tokens
"""  # noqa: S608

_COUNT_CORRECTIONS = "SELECT count(*) FROM usage_corrections WHERE occurred_at >= $1 AND occurred_at < $2"
_CHAIN = """
SELECT c.attempt_id || ' correction ' || c.number AS subject,
       CASE WHEN e.attempt_id IS NULL THEN 'there is no such attempt'
            WHEN c.number <> place THEN 'it is the ' || place || '. of its attempt'
            ELSE 'made for a row that was recorded later, at ' || c.row_recorded_at END AS says
FROM (SELECT *, row_number() OVER (PARTITION BY workspace_id, attempt_id ORDER BY number) AS place
      FROM usage_corrections WHERE occurred_at >= $1 AND occurred_at < $2) c
LEFT JOIN usage_events e
       ON e.workspace_id = c.workspace_id AND e.attempt_id = c.attempt_id AND e.occurred_at = c.occurred_at
WHERE e.attempt_id IS NULL OR c.number <> place OR c.row_recorded_at > e.recorded_at
"""

_DIFFER = f"""
SELECT {NAMED} AS subject, 'the same figures as before it' AS says
FROM (SELECT f.*, lag(figures) OVER (PARTITION BY workspace_id, attempt_id, of_row ORDER BY number) AS before
      FROM (SELECT f.*,
                   ROW(service_tier, input_tokens, cached_tokens, output_tokens, reasoning_tokens, usage_inconsistent,
                       units, quantities, price_item_ids, line_list_pusd, line_charge_pusd, list_pusd, charge_pusd,
                       charge_kind, charge_bps, charge_reason, pricing)::text AS figures
            FROM ({FIGURES}) f
            WHERE EXISTS (SELECT FROM usage_corrections c
                          WHERE c.workspace_id = f.workspace_id AND c.attempt_id = f.attempt_id)) f) f
WHERE number > 0 AND figures = before
"""  # noqa: S608

CHECKS = (
    Check("attempts_once", "An attempt has one row.", "day", COUNT_EVENTS, _ONCE),
    Check("attempt_moments", "A row lies at the moment inside its attempt's id.", "day", COUNT_EVENTS, _MOMENTS),
    Check("lines_add_up", "The lines of an event add up to its cost.", "day", COUNT_FIGURES, _LINES_ADD_UP),
    Check("line_prices", "A line is its quantity at the price that it names.", "day", COUNT_FIGURES, _LINE_PRICES),
    Check("line_charges", "The charge of a line is its list cost × charge_bps, half-even.", "day", COUNT_FIGURES, _LINE_CHARGES),
    Check("charge_kinds", "What is charged fits whose account paid the provider.", "day", COUNT_FIGURES, _CHARGE_KINDS),
    Check("unpriced", "An event is unpriced where a line has no price, and only there.", "day", COUNT_FIGURES, _UNPRICED),
    Check("tokens", "Every token of the totals is in a line.", "day", COUNT_FIGURES, _TOKENS),
    Check("corrections_chain", "Corrections are numbered from 1 and belong to an attempt.", "time", _COUNT_CORRECTIONS, _CHAIN),
    Check("corrections_differ", "A correction changes something.", "day", _COUNT_CORRECTIONS, _DIFFER),
)
