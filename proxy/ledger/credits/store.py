"""SQL of `fee_allowances`, and of the credits that use them up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from proxy.ledger.allowance import Credit, Fee, Month, waive
from proxy.storage.postgres import Connection
from proxy.wire.ids import uuid7

_COMMAND_TIMEOUT_S = 90.0

# Of attempts that are new or changed: what their fees come to, what they were credited, what their month's plan waives.
_FEES = """
SELECT d.workspace_id, date_trunc('month', d.occurred_at AT TIME ZONE w.time_zone)::date AS month, u.id AS entry_id,
       coalesce(d.owed_pusd, 0) AS fee_pusd,
       coalesce((SELECT -sum(c.amount_pusd) FROM billing_events c WHERE c.kind = 'credit' AND c.corrects = u.id), 0)
           AS credited_pusd,
       coalesce((SELECT p.free_fees_pusd FROM plans p
                 WHERE uuidrange(p.workspace_id, p.workspace_id, '[]') @> d.workspace_id
                   AND tstzrange(p.effective_from, p.effective_to) @> d.occurred_at), 0) AS free_pusd
FROM ledger_delta_2 d
JOIN billing_events u ON u.kind = 'platform_fee' AND u.attempt_id = d.attempt_id
JOIN workspaces w ON w.id = d.workspace_id
WHERE d.sign = 1
ORDER BY d.occurred_at, d.attempt_id
"""

# Also the lock: from here on nobody else uses these months up.
_USED = """
INSERT INTO fee_allowances AS a (workspace_id, month, used_pusd)
SELECT m.workspace_id, m.month, 0 FROM unnest($1::uuid[], $2::date[]) AS m (workspace_id, month)
ORDER BY m.workspace_id, m.month
ON CONFLICT (workspace_id, month) DO UPDATE SET used_pusd = a.used_pusd
RETURNING a.workspace_id, a.month, a.used_pusd
"""
_USE = """
UPDATE fee_allowances a SET used_pusd = a.used_pusd + m.pusd
FROM unnest($1::uuid[], $2::date[], $3::numeric[]) AS m (workspace_id, month, pusd)
WHERE a.workspace_id = m.workspace_id AND a.month = m.month
"""
_CREDIT = """
INSERT INTO billing_events
    (id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects, reason, occurred_at)
SELECT c.id, u.workspace_id, u.user_id, u.virtual_key_id, u.attempt_id, 'credit', -c.pusd, u.id, c.reason, u.occurred_at
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[]) WITH ORDINALITY AS c (id, entry_id, pusd, reason, number)
JOIN billing_events u ON u.id = c.entry_id
ORDER BY c.number
"""
GIVEN, TAKEN_BACK = "monthly allowance of platform fees", "the fee came to less than its allowance"


async def add_delta(conn: Connection, *, now_ms: int) -> None:
    """Inside the transaction of the shard's writer, once the fees of what is in ledger_delta_2 are billed."""
    fees = [
        Fee((row["workspace_id"], row["month"]), row["entry_id"], row["fee_pusd"], int(row["credited_pusd"]), row["free_pusd"])
        for row in await conn.fetch(_FEES, timeout=_COMMAND_TIMEOUT_S)
    ]
    fees = [fee for fee in fees if fee.free_pusd or fee.credited_pusd]
    if not fees:
        return
    months = sorted({fee.month for fee in fees})
    used = {
        (row["workspace_id"], row["month"]): int(row["used_pusd"])
        for row in await conn.fetch(_USED, *_columns(months), timeout=_COMMAND_TIMEOUT_S)
    }
    if credits := waive(fees, used):
        await _write(conn, credits, now_ms)


async def _write(conn: Connection, credits: Sequence[Credit], now_ms: int) -> None:
    await conn.execute(
        _CREDIT,
        [uuid7(now_ms) for _ in credits],
        [credit.fee.entry_id for credit in credits],
        [credit.pusd for credit in credits],
        [GIVEN if credit.pusd > 0 else TAKEN_BACK for credit in credits],
        timeout=_COMMAND_TIMEOUT_S,
    )
    sums: defaultdict[Month, int] = defaultdict(int)
    for credit in credits:
        sums[credit.fee.month] += credit.pusd
    await conn.execute(_USE, *_columns(list(sums)), list(sums.values()), timeout=_COMMAND_TIMEOUT_S)


def _columns(months: Sequence[Month]) -> tuple[list[object], list[object]]:
    return [month[0] for month in months], [month[1] for month in months]
