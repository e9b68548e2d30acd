"""What may be done to plans and overrides. Each function runs in the caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from proxy.identity.people import get_workspace, no_such
from proxy.identity.plan import Plan
from proxy.identity.plans import store
from proxy.identity.records import Changed, OverrideRow, PlanRow
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

_TICK = timedelta(microseconds=1)


async def get_plan(db: Connection, workspace_id: UUID, *, reach: UUID | None) -> PlanRow | None:
    """None: nobody gave it one, the defaults are in force."""
    await get_workspace(db, workspace_id, reach=reach)
    return await store.in_force(db, workspace_id)


async def set_plan(db: Connection, workspace_id: UUID, plan: Plan, *, id: UUID, now: datetime) -> Changed[PlanRow]:
    """In force at once. The same as before is no change, and leaves no second row."""
    await _lock(db, workspace_id)
    before = await store.in_force(db, workspace_id)
    if before is not None:
        if before.plan == plan:
            return Changed(before, frozenset())
        now = _after(before.effective_from, now)
        await store.end_plan(db, before.id, now)
    after = await store.insert_plan(db, id=id, workspace_id=workspace_id, plan=plan, effective_from=now)
    return Changed(after, frozenset([workspace_id]))


async def get_override(db: Connection, workspace_id: UUID, llm_id: UUID, *, reach: UUID | None) -> OverrideRow:
    await get_workspace(db, workspace_id, reach=reach)
    found = await store.override(db, workspace_id, llm_id)
    if found is None:
        raise no_such("price override")
    return found


async def set_override(
    db: Connection, workspace_id: UUID, llm_id: UUID, markup_bps: int, *, id: UUID, now: datetime
) -> Changed[OverrideRow]:
    """In force at once, in place of the plan's markup."""
    await _lock(db, workspace_id)
    if not await store.llm_exists(db, llm_id):
        raise no_such("llm")
    before = await store.override(db, workspace_id, llm_id)
    if before is not None:
        if before.markup_bps == markup_bps:
            return Changed(before, frozenset())
        now = _after(before.effective_from, now)
        await store.end_override(db, before.id, now)
    await store.insert_override(
        db, id=id, workspace_id=workspace_id, llm_id=llm_id, markup_bps=markup_bps, effective_from=now
    )
    after = await store.override(db, workspace_id, llm_id)
    assert after is not None
    return Changed(after, frozenset([workspace_id]))


async def require_llm(db: Connection, name: str) -> UUID:
    found = await store.llm_id(db, name)
    if found is None:
        raise Refused(Reason.BAD_VALUE, f"There is no llm `{name}`. GET /api/v1/llms lists them.", param="llm")
    return found


async def end_override(db: Connection, workspace_id: UUID, llm_id: UUID, *, now: datetime) -> Changed[OverrideRow]:
    """The plan's markup is in force again. What was charged under the override stays so."""
    await _lock(db, workspace_id)
    before = await store.override(db, workspace_id, llm_id)
    if before is None:
        raise no_such("price override")
    await store.end_override(db, before.id, _after(before.effective_from, now))
    return Changed(before, frozenset([workspace_id]))


async def _lock(db: Connection, workspace_id: UUID) -> None:
    if not await store.lock_workspace(db, workspace_id):
        raise no_such("workspace")


def _after(began: datetime, now: datetime) -> datetime:
    """Clocks of two machines: nothing ends before it began."""
    return max(now, began + _TICK)
