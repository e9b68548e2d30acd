"""SQL of `plans` and `price_overrides`. Ranges of one id, as in their constraints, so that their indexes find rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from proxy.identity.plan import Plan
from proxy.identity.records import OverrideRow, PlanRow
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0

# By what has no end, not by the clock: a change that is seen counts, whatever this machine thinks the time is.
OF_CALLER = """
SELECT p.markup_bps, p.platform_fee_bps, p.free_fees_pusd, p.internal, p.empty_answer_free, o.llms, o.markups
FROM (SELECT array_agg(l.name) AS llms, array_agg(o.markup_bps) AS markups
      FROM price_overrides o JOIN llms l ON l.id = o.llm_id
      WHERE uuidrange(o.workspace_id, o.workspace_id, '[]') @> $1::uuid AND o.workspace_id = $1
        AND o.effective_to IS NULL) o
LEFT JOIN plans p ON uuidrange(p.workspace_id, p.workspace_id, '[]') @> $1::uuid AND p.workspace_id = $1
  AND p.effective_to IS NULL
"""
LOCK_WORKSPACE = "SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE"
IN_FORCE = """
SELECT id, workspace_id, markup_bps, platform_fee_bps, free_fees_pusd, internal, empty_answer_free, effective_from,
       created_at
FROM plans
WHERE uuidrange(workspace_id, workspace_id, '[]') @> $1::uuid AND workspace_id = $1 AND effective_to IS NULL
"""
END_PLAN = "UPDATE plans SET effective_to = $2 WHERE id = $1"
INSERT_PLAN = """
INSERT INTO plans (id, workspace_id, markup_bps, platform_fee_bps, free_fees_pusd, internal, empty_answer_free,
                   effective_from)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id, workspace_id, markup_bps, platform_fee_bps, free_fees_pusd, internal, empty_answer_free, effective_from,
          created_at
"""

_OVERRIDES = """
SELECT o.id, o.workspace_id, o.llm_id, l.name AS llm, o.markup_bps, o.effective_from, o.created_at
FROM price_overrides o JOIN llms l ON l.id = o.llm_id
WHERE uuidrange(o.workspace_id, o.workspace_id, '[]') @> $1::uuid AND o.workspace_id = $1 AND o.effective_to IS NULL
"""
OVERRIDE = _OVERRIDES + "AND o.llm_id = $2"
LIST_OVERRIDES = keyset(_OVERRIDES + "AND ($2::uuid IS NULL OR o.id <beyond> $2) ORDER BY o.id <order> LIMIT $3")
LLM_EXISTS = "SELECT EXISTS (SELECT 1 FROM llms WHERE id = $1)"
LLM_ID = "SELECT id FROM llms WHERE name = $1 AND status = 'active'"
END_OVERRIDE = "UPDATE price_overrides SET effective_to = $2 WHERE id = $1"
INSERT_OVERRIDE = """
INSERT INTO price_overrides (id, workspace_id, llm_id, markup_bps, effective_from) VALUES ($1, $2, $3, $4, $5)
"""


async def of_caller(db: Connection, workspace_id: UUID) -> Plan:
    """The plan in force and the markups beside it."""
    row = await db.fetchrow(OF_CALLER, workspace_id, timeout=QUERY_S)
    assert row is not None
    *terms, llms, markups = row.values()
    if terms[0] is None and llms is None:
        return Plan()
    fields = {} if terms[0] is None else dict(zip(_PLAN_FIELDS, terms, strict=True))
    return Plan(**fields, markups=dict(zip(llms or (), markups or (), strict=True)))


_PLAN_FIELDS = ("markup_bps", "platform_fee_bps", "free_fees_pusd", "internal", "empty_answer_free")


async def lock_workspace(db: Connection, workspace_id: UUID) -> bool:
    """Nobody else changes its plan or overrides until the transaction ends. False: it is not there."""
    return await db.fetchval(LOCK_WORKSPACE, workspace_id, timeout=QUERY_S) is not None


async def in_force(db: Connection, workspace_id: UUID) -> PlanRow | None:
    row = await db.fetchrow(IN_FORCE, workspace_id, timeout=QUERY_S)
    return None if row is None else PlanRow(**dict(row))


async def end_plan(db: Connection, id: UUID, at: datetime) -> None:
    await db.execute(END_PLAN, id, at, timeout=QUERY_S)


async def insert_plan(db: Connection, *, id: UUID, workspace_id: UUID, plan: Plan, effective_from: datetime) -> PlanRow:
    row = await db.fetchrow(
        INSERT_PLAN, id, workspace_id, plan.markup_bps, plan.platform_fee_bps, plan.free_fees_pusd, plan.internal,
        plan.empty_answer_free, effective_from, timeout=QUERY_S,
    )  # fmt: skip
    assert row is not None
    return PlanRow(**dict(row))


async def override(db: Connection, workspace_id: UUID, llm_id: UUID) -> OverrideRow | None:
    row = await db.fetchrow(OVERRIDE, workspace_id, llm_id, timeout=QUERY_S)
    return None if row is None else _override(row)


async def list_overrides(db: Connection, workspace_id: UUID, *, page: Page) -> Sequence[OverrideRow]:
    rows = await db.fetch(LIST_OVERRIDES.of(page), workspace_id, page.after, page.limit + 1, timeout=QUERY_S)
    return [_override(row) for row in rows]


async def llm_exists(db: Connection, llm_id: UUID) -> bool:
    return bool(await db.fetchval(LLM_EXISTS, llm_id, timeout=QUERY_S))


async def llm_id(db: Connection, name: str) -> UUID | None:
    found: UUID | None = await db.fetchval(LLM_ID, name, timeout=QUERY_S)
    return found


async def end_override(db: Connection, id: UUID, at: datetime) -> None:
    await db.execute(END_OVERRIDE, id, at, timeout=QUERY_S)


async def insert_override(
    db: Connection, *, id: UUID, workspace_id: UUID, llm_id: UUID, markup_bps: int, effective_from: datetime
) -> None:
    await db.execute(INSERT_OVERRIDE, id, workspace_id, llm_id, markup_bps, effective_from, timeout=QUERY_S)


def _override(row: Record) -> OverrideRow:
    return OverrideRow(**dict(row))
