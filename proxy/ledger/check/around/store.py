"""SQL over `ledger_positions`, `dead_letters`, price versions, plans and price overrides."""

from __future__ import annotations

from proxy.ledger.check.check import Check

_DEAD_LETTERS = """
SELECT 'shard ' || shard || ' entry ' || entry_id AS subject, left(error, 200) AS says FROM dead_letters
"""

# A minute: the clocks of two machines.
_POSITIONS = """
SELECT 'shard ' || shard AS subject, 'at entry ' || entry_id || ', as of ' || as_of AS says
FROM ledger_positions
WHERE as_of > now() + interval '1 minute' OR entry_id !~ '^[0-9]{1,20}-[0-9]{1,20}$'
UNION ALL
SELECT 'shard ' || w.shard, 'events are recorded, and no position'
FROM (SELECT DISTINCT shard FROM workspaces w
      WHERE EXISTS (SELECT FROM usage_daily d WHERE d.workspace_id = w.id)) w
WHERE NOT EXISTS (SELECT FROM ledger_positions p WHERE p.shard = w.shard)
"""

_PRICE_VERSIONS = """
SELECT a.id::text AS subject, 'in force together with ' || b.id || ' of the same route' AS says
FROM price_versions a
JOIN price_versions b ON b.route_id = a.route_id AND b.id > a.id
 AND tstzrange(a.effective_from, a.effective_to) && tstzrange(b.effective_from, b.effective_to)
WHERE a.superseded_at IS NULL AND b.superseded_at IS NULL
"""

_PLANS = """
SELECT a.id::text AS subject, 'in force together with plan ' || b.id AS says
FROM plans a
JOIN plans b ON b.workspace_id = a.workspace_id AND b.id > a.id
 AND tstzrange(a.effective_from, a.effective_to) && tstzrange(b.effective_from, b.effective_to)
UNION ALL
SELECT a.id::text, 'in force together with override ' || b.id
FROM price_overrides a
JOIN price_overrides b ON b.workspace_id = a.workspace_id AND b.llm_id = a.llm_id AND b.id > a.id
 AND tstzrange(a.effective_from, a.effective_to) && tstzrange(b.effective_from, b.effective_to)
"""

CHECKS = (
    Check("dead_letters", "Everything that was settled could be written.", "all", "SELECT count(*) FROM dead_letters", _DEAD_LETTERS),
    Check("positions", "The ledger knows how far it is.", "all", "SELECT count(*) FROM ledger_positions", _POSITIONS),
    Check(
        "price_versions", "A route has one price at a time.", "all", "SELECT count(*) FROM price_versions", _PRICE_VERSIONS
    ),
    Check(
        "plans", "A workspace has one plan at a time, and one override of an llm.", "all",
        "SELECT (SELECT count(*) FROM plans) + (SELECT count(*) FROM price_overrides)", _PLANS,
    ),
)  # fmt: skip
