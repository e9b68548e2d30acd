"""SQL for whoever reads usage events: what an attempt comes to now, which is its newest correction or else its row.

A correction belongs to the row that it was made for: one that became final since, counts itself.
"""

from __future__ import annotations

# What a correction may change, in the order of `Figures`.
CORRECTED = (
    "service_tier", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "usage_inconsistent", "units",
    "quantities", "price_item_ids", "line_list_pusd", "line_charge_pusd", "list_pusd", "charge_pusd", "charge_kind",
    "charge_bps", "charge_reason", "pricing",
)  # fmt: skip

# Behind `FROM usage_events e`. One look into an index per row.
NEWEST = """
LEFT JOIN LATERAL (
    SELECT * FROM usage_corrections k
    WHERE k.workspace_id = e.workspace_id AND k.attempt_id = e.attempt_id AND k.row_recorded_at = e.recorded_at
    ORDER BY k.number DESC LIMIT 1) c ON true
"""
# Not coalesce: a correction may say that nothing is known (reasoning_tokens).
CURRENT = ", ".join(f"CASE WHEN c.number IS NULL THEN e.{name} ELSE c.{name} END AS {name}" for name in CORRECTED)
