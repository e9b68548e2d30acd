"""SQL over `billing_events` and `fee_allowances`."""

from __future__ import annotations

from proxy.ledger.check.check import Check
from proxy.ledger.check.current import COUNT_EVENTS, CURRENT

_WITHIN = "occurred_at >= $1 AND occurred_at < $2"
_OF_B = "b.occurred_at >= $1 AND b.occurred_at < $2"
_COUNT = f"SELECT count(*) FROM billing_events WHERE {_WITHIN}"  # noqa: S608

# An event without a known price owes nothing until it has one.
_OWED = f"""
SELECT e.attempt_id::text AS subject,
       'its entries are ' || entries || ', its charge is ' || owed || ' (' || pricing || ')' AS says
FROM (SELECT e.attempt_id, e.pricing, CASE e.pricing WHEN 'priced' THEN e.charge_pusd ELSE 0 END AS owed,
             coalesce(b.amount_pusd, 0) AS entries
      FROM ({CURRENT}) e
      LEFT JOIN LATERAL (
          SELECT sum(b.amount_pusd) AS amount_pusd FROM billing_events b
          WHERE b.attempt_id = e.attempt_id AND b.workspace_id = e.workspace_id
            AND b.kind IN ('usage', 'platform_fee', 'adjustment')) b ON true) e
WHERE entries <> owed
"""  # noqa: S608

_KNOWN = f"""
SELECT b.id::text AS subject,
       CASE WHEN e.attempt_id IS NULL THEN 'no such attempt ' || b.attempt_id || ' at ' || b.occurred_at || ' in its workspace'
            ELSE 'of another user or key than its attempt ' || b.attempt_id END AS says
FROM billing_events b
LEFT JOIN usage_events e
       ON e.workspace_id = b.workspace_id AND e.attempt_id = b.attempt_id AND e.occurred_at = b.occurred_at
WHERE b.attempt_id IS NOT NULL AND {_OF_B}
  AND (e.attempt_id IS NULL OR b.user_id <> e.user_id OR b.virtual_key_id <> e.virtual_key_id)
"""  # noqa: S608

_ONE_BASE = f"""
SELECT attempt_id::text AS subject, count(*) || ' entries of usage or platform_fee' AS says
FROM billing_events WHERE {_WITHIN} AND kind IN ('usage', 'platform_fee')
GROUP BY attempt_id HAVING count(*) > 1
"""  # noqa: S608

_NAMED = f"""
SELECT b.id::text AS subject,
       b.kind || ' names ' || coalesce(
           b.corrects || coalesce(', a ' || o.kind || ' of attempt ' || o.attempt_id, ', which does not exist'), 'no entry')
       || '; its own attempt is ' || coalesce(b.attempt_id::text, 'none') AS says
FROM billing_events b
LEFT JOIN billing_events o ON o.id = b.corrects
WHERE {_OF_B}
  AND CASE WHEN b.kind IN ('usage', 'platform_fee') THEN b.corrects IS NOT NULL OR b.attempt_id IS NULL
           WHEN b.kind = 'credit' AND b.corrects IS NULL THEN b.attempt_id IS NOT NULL
           ELSE o.id IS NULL OR o.workspace_id <> b.workspace_id OR o.attempt_id IS DISTINCT FROM b.attempt_id
                OR (b.kind = 'adjustment' AND o.kind NOT IN ('usage', 'platform_fee'))
                OR (b.kind = 'refund' AND o.kind NOT IN ('usage', 'platform_fee', 'refund')) END
"""  # noqa: S608

_KINDS = f"""
SELECT b.id::text AS subject, b.kind || ' of ' || b.amount_pusd || ', account ' || e.provider_account AS says
FROM billing_events b
JOIN usage_events e ON e.workspace_id = b.workspace_id AND e.attempt_id = b.attempt_id AND e.occurred_at = b.occurred_at
WHERE {_OF_B}
  AND CASE b.kind WHEN 'usage' THEN b.amount_pusd < 0 OR e.provider_account <> 'ours'
                  WHEN 'platform_fee' THEN b.amount_pusd < 0 OR e.provider_account <> 'own'
                  WHEN 'adjustment' THEN b.amount_pusd = 0
                  WHEN 'refund' THEN b.amount_pusd = 0
                  ELSE false END
"""  # noqa: S608

# When the refund was made, and now: where a price fell since, a refund is taken back in part (a positive one), and given
# again where it rises.
_REFUNDS = f"""
SELECT id::text AS subject, 'refunds ' || -amount_pusd || ' of attempt ' || attempt_id || ', ' || -least(owed, owed_now)
       || ' more than it owed' AS says
FROM (SELECT b.*, sum(amount_pusd) OVER (PARTITION BY workspace_id, attempt_id ORDER BY created_at, id) AS owed,
             sum(amount_pusd) OVER (PARTITION BY workspace_id, attempt_id) AS owed_now
      FROM billing_events b
      WHERE attempt_id IN (SELECT attempt_id FROM billing_events WHERE {_WITHIN} AND kind = 'refund')) b
WHERE kind = 'refund' AND amount_pusd < 0 AND {_WITHIN} AND least(owed, owed_now) < 0
"""  # noqa: S608
_COUNT_REFUNDS = f"SELECT count(*) FROM billing_events WHERE {_WITHIN} AND kind = 'refund'"  # noqa: S608

_CREDITS = f"""
SELECT attempt_id::text AS subject, 'a credit of ' || -credit || ' for a fee of ' || fee AS says
FROM (SELECT attempt_id, sum(amount_pusd) FILTER (WHERE kind = 'credit') AS credit,
             coalesce(sum(amount_pusd) FILTER (WHERE kind IN ('platform_fee', 'adjustment')), 0) AS fee,
             bool_or(kind = 'usage') AS is_usage
      FROM billing_events
      WHERE attempt_id IN (SELECT attempt_id FROM billing_events WHERE {_WITHIN} AND kind = 'credit')
      GROUP BY workspace_id, attempt_id) b
WHERE is_usage OR credit > 0 OR -credit > fee
"""  # noqa: S608
_COUNT_CREDITS = f"SELECT count(*) FROM billing_events WHERE {_WITHIN} AND kind = 'credit' AND attempt_id IS NOT NULL"  # noqa: S608

# By workspace, over all months: a month is one of the workspace's time zone, and that may have been another one then.
_ALLOWANCES = """
SELECT workspace_id::text AS subject,
       'used ' || coalesce(a.used, 0) || ', its attempts were credited ' || coalesce(b.credited, 0) AS says
FROM (SELECT workspace_id, sum(used_pusd) AS used FROM fee_allowances GROUP BY workspace_id) a
FULL JOIN (SELECT workspace_id, -sum(amount_pusd) AS credited FROM billing_events
           WHERE kind = 'credit' AND attempt_id IS NOT NULL GROUP BY workspace_id) b USING (workspace_id)
WHERE coalesce(a.used, 0) <> coalesce(b.credited, 0)
UNION ALL
SELECT workspace_id || ' ' || month, 'used ' || used_pusd FROM fee_allowances WHERE used_pusd < 0
"""

CHECKS = (
    Check("owed", "The entries of an attempt add up to its charge.", "day", COUNT_EVENTS, _OWED),
    Check("entries_known", "An entry is of an attempt that is recorded.", "time", _COUNT, _KNOWN),
    Check("one_base_entry", "An attempt has one entry of usage or of a platform fee.", "time", _COUNT, _ONE_BASE),
    Check("entries_named", "What changes an entry names it, and is of the same attempt.", "time", _COUNT, _NAMED),
    Check("entry_kinds", "The kind of an entry fits its sign and whose account paid.", "time", _COUNT, _KINDS),
    Check("refunds", "No refund is of more than was owed.", "time", _COUNT_REFUNDS, _REFUNDS),
    Check("credits", "No attempt is credited more than its fee.", "time", _COUNT_CREDITS, _CREDITS),
    Check(
        "fee_allowances", "Allowances are used by what was credited.", "all", "SELECT count(*) FROM fee_allowances",
        _ALLOWANCES,
    ),
)  # fmt: skip
