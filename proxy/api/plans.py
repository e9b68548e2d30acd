"""`/workspaces/{id}/plan` and `/workspaces/{id}/prices`: what a workspace pays on top of, or off, list prices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pricing.money import BIGINT_MAX, format_usd, parse_usd
from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    Deleted,
    Listing,
    ListQuery,
    LlmId,
    LlmName,
    OverrideId,
    Part,
    PlanId,
    Usd,
    WorkspaceId,
    given,
    left_as_is,
)
from proxy.audit.write import Change
from proxy.identity.plan import Plan
from proxy.identity.plans import change, store
from proxy.identity.records import Changed, OverrideRow, PlanRow
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire

OF = {"workspace_id": "ws"}
ONE_OF = {"workspace_id": "ws", "llm_id": "llm"}


def _amount(text: str) -> str:
    try:
        fits = 0 <= parse_usd(text) <= BIGINT_MAX
    except ValueError:
        fits = False
    if not fits:
        raise PydanticCustomError("amount", "must be USD, 0 or more, with at most 12 decimals, such as 10.00")
    return text


MarkupBps = Annotated[int, Field(ge=-10_000, le=1_000_000)]
FeeBps = Annotated[int, Field(ge=0, le=10_000)]
Free = Annotated[str, Field(max_length=40), AfterValidator(_amount)]


class PlanObject(Part):
    """Who pays what in a workspace. 100 basis points are one percent."""

    id: PlanId | None
    """Null: nobody gave it a plan; the defaults are in force."""
    object: Literal["plan"] = "plan"
    workspace_id: WorkspaceId
    markup_bps: int
    """On list prices, where the platform's provider keys are used; negative: a discount."""
    platform_fee_bps: int
    """Of list prices, where own provider keys are used."""
    free_fees_usd: Usd
    """Of these fees, waived each month of the workspace's time zone."""
    internal: bool
    """The operator's own: nothing is charged."""
    empty_answer_free: bool
    """An answer without output and without a finish is not charged."""
    effective_from: datetime | None
    created_at: datetime | None


class NewPlan(Part):
    """What is left out is as it is without a plan."""

    markup_bps: MarkupBps = 0
    platform_fee_bps: FeeBps = 0
    free_fees_usd: Free = "0.00"
    internal: bool = False
    empty_answer_free: bool = True


class PlanChange(Part):
    markup_bps: MarkupBps = left_as_is()
    platform_fee_bps: FeeBps = left_as_is()
    free_fees_usd: Free = left_as_is()
    internal: bool = left_as_is()
    empty_answer_free: bool = left_as_is()


class OverrideObject(Part):
    """The markup of a workspace for one llm, in place of its plan's."""

    id: OverrideId
    object: Literal["price_override"] = "price_override"
    workspace_id: WorkspaceId
    llm_id: LlmId
    llm: str
    markup_bps: int
    effective_from: datetime
    created_at: datetime


class OverrideList(Listing[OverrideObject]):
    """Price overrides."""


class NewOverride(Part):
    llm: LlmName
    markup_bps: MarkupBps


class OverrideChange(Part):
    markup_bps: MarkupBps


class OverrideQuery(ListQuery):
    after: OverrideId | None = None


def show_plan(workspace_id: UUID, row: PlanRow | None) -> PlanObject:
    plan = Plan() if row is None else row.plan
    return PlanObject(
        id=None if row is None else row.id, workspace_id=workspace_id, markup_bps=plan.markup_bps,
        platform_fee_bps=plan.platform_fee_bps, free_fees_usd=format_usd(plan.free_fees_pusd), internal=plan.internal,
        empty_answer_free=plan.empty_answer_free, effective_from=None if row is None else row.effective_from,
        created_at=None if row is None else row.created_at,
    )  # fmt: skip


def show_override(row: OverrideRow) -> OverrideObject:
    return OverrideObject(
        id=row.id, workspace_id=row.workspace_id, llm_id=row.llm_id, llm=row.llm, markup_bps=row.markup_bps,
        effective_from=row.effective_from, created_at=row.created_at,
    )  # fmt: skip


async def get_plan(call: Call, db: Connection, query: object) -> PlanObject:
    workspace_id = call.path["workspace_id"]
    return show_plan(workspace_id, await change.get_plan(db, workspace_id, reach=call.own))


async def put_plan(call: Call, db: Connection, body: NewPlan) -> Change:
    return await _set_plan(call, db, _plan(body.model_dump()), body.model_dump())


async def change_plan(call: Call, db: Connection, body: PlanChange) -> Change:
    fields = given(body)
    workspace_id = call.path["workspace_id"]
    await store.lock_workspace(db, workspace_id)  # two changes of one plan are both made
    before = await change.get_plan(db, workspace_id, reach=call.own)
    shown = show_plan(workspace_id, before).model_dump(include=set(NewPlan.model_fields))
    return await _set_plan(call, db, _plan(shown | fields), fields)


async def _set_plan(call: Call, db: Connection, plan: Plan, detail: dict[str, object]) -> Change:
    workspace_id = call.path["workspace_id"]
    done = await change.set_plan(
        db, workspace_id, plan, id=call.context.new_id(), now=call.context.clock.now()
    )
    return Change(
        body=render(show_plan(workspace_id, done.value)), workspace_id=workspace_id, resource_id=done.value.id,
        scopes=done.scopes, detail=detail,
    )  # fmt: skip


def _plan(fields: dict[str, object]) -> Plan:
    asked = NewPlan.model_validate(fields)
    return Plan(
        asked.markup_bps, asked.platform_fee_bps, parse_usd(asked.free_fees_usd), asked.internal, asked.empty_answer_free
    )


async def list_overrides(call: Call, db: Connection, query: OverrideQuery) -> OverrideList:
    workspace_id = call.path["workspace_id"]
    await change.get_plan(db, workspace_id, reach=call.own)  # absent, where it is another's
    rows = await store.list_overrides(db, workspace_id, page=page_of(query, query.after))
    return OverrideList(**listing(rows, query.limit, show_override))


async def get_override(call: Call, db: Connection, query: object) -> OverrideObject:
    row = await change.get_override(db, call.path["workspace_id"], call.path["llm_id"], reach=call.own)
    return show_override(row)


async def add_override(call: Call, db: Connection, body: NewOverride) -> Change:
    return await _set_override(call, db, await change.require_llm(db, body.llm), body.markup_bps, status=201)


async def put_override(call: Call, db: Connection, body: OverrideChange) -> Change:
    return await _set_override(call, db, call.path["llm_id"], body.markup_bps)


async def _set_override(call: Call, db: Connection, llm_id: UUID, markup_bps: int, status: int = 200) -> Change:
    done = await change.set_override(
        db, call.path["workspace_id"], llm_id, markup_bps, id=call.context.new_id(), now=call.context.clock.now()
    )
    return _changed(done, render(show_override(done.value)), status)


async def delete_override(call: Call, db: Connection, body: object) -> Change:
    done = await change.end_override(
        db, call.path["workspace_id"], call.path["llm_id"], now=call.context.clock.now()
    )
    return _changed(done, render(Deleted(id=to_wire("over", done.value.id), object="price_override")))


def _changed(done: Changed[OverrideRow], body: bytes, status: int = 200) -> Change:
    row = done.value
    return Change(
        body=body, workspace_id=row.workspace_id, resource_id=row.id, status=status, scopes=done.scopes,
        detail={"llm": row.llm, "markup_bps": row.markup_bps},
    )  # fmt: skip


PLAN, PRICES, PRICE = (f"/workspaces/{{workspace_id}}{end}" for end in ("/plan", "/prices", "/prices/{llm_id}"))
WHAT = "price_override"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(PLAN, "plan", "Who pays what in a workspace", get_plan, PlanObject, ids=OF),
    Write("PUT", PLAN, "update", "plan", "Give a workspace a plan, in force at once", put_plan, PlanObject, NewPlan, OF),
    Write("PATCH", PLAN, "update", "plan", "Change a workspace's plan, in force at once", change_plan, PlanObject, PlanChange, OF),
    Read(PRICES, WHAT, "List markups for single llms", list_overrides, OverrideList, OverrideQuery, OF),
    Write("POST", PRICES, "update", WHAT, "Set the markup for an llm", add_override, OverrideObject, NewOverride, OF, status=201),
    Read(PRICE, WHAT, "Get the markup for an llm", get_override, OverrideObject, ids=ONE_OF),
    Write("PUT", PRICE, "update", WHAT, "Set the markup for an llm", put_override, OverrideObject, OverrideChange, ONE_OF),
    Write("DELETE", PRICE, "delete", WHAT, "Back to the plan's markup", delete_override, Deleted, ids=ONE_OF),
)  # fmt: skip
