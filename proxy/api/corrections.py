"""`/billing/rerate`, `/billing/refunds`, `/billing/credits`: what is done about a bill that was wrong."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from pricing.money import BIGINT_MAX, format_usd, parse_usd
from proxy.api.billing import BillingEventObject, show_entry
from proxy.api.endpoint import Call, Endpoint, Write, render
from proxy.api.schema import AttemptId, LlmName, Name, Part, Usd, When, WorkspaceId
from proxy.audit.write import Change
from proxy.ledger.corrections import giving_back
from proxy.ledger.corrections.rerate import Place, Wanted, rerate
from proxy.ledger.corrections.store import Author, Entry
from proxy.ledger.reading import store as reading
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

MAX_BATCH = 2000
_PLACE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(/[0-9a-f]{32}/[0-9a-f]{32})?$"


def _amount(text: str) -> str:
    try:
        fits = 0 < parse_usd(text) <= BIGINT_MAX
    except ValueError:
        fits = False
    if not fits:
        raise PydanticCustomError("amount", "must be USD above 0 with at most 12 decimals, such as 1.50")
    return text


Amount = Annotated[str, StringConstraints(max_length=40), AfterValidator(_amount)]


class NewRerate(Part):
    since: Annotated[When, Field(alias="from", description="Inclusive; a day means its midnight in UTC.")]
    until: Annotated[When, Field(alias="to", description="Exclusive; a day means its midnight in UTC.")]
    llm: LlmName | None = None
    dry_run: bool = False
    """Only say what would change."""
    reason: Name = "priced again"
    after: Annotated[str, StringConstraints(pattern=_PLACE)] | None = None
    """`next` of the call before; null begins."""
    limit: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1000
    """Attempts to look at in this call."""


class RerateObject(Part):
    """One batch of attempts, priced again."""

    object: Literal["rerate"] = "rerate"
    dry_run: bool
    examined: int
    left: int
    """Abandoned within the last 48 hours: they may still be settled, and are not looked at before."""
    changed: int
    became_priced: int
    unpriced: int
    """Still without a known price."""
    list_difference_usd: Usd
    charge_difference_usd: Usd
    next: str | None
    """Where the next call goes on (`after`); null: all of it is done."""


class NewRefund(Part):
    attempt_id: AttemptId
    amount_usd: Amount | None = None
    """Left out: all that is still owed for the attempt."""
    reason: Name


class NewCredit(Part):
    workspace_id: WorkspaceId
    amount_usd: Amount
    """What the workspace owes less."""
    reason: Name


async def price_again(call: Call, db: Connection, body: NewRerate) -> Change:
    if body.since >= body.until:
        raise Refused(Reason.BAD_VALUE, "`from` must be before `to`.", param="to")
    wanted = Wanted(body.since, body.until, body.llm, _place(body.after), body.limit)
    done = await rerate(
        db, wanted, _author(call, body.reason), dry_run=body.dry_run, now=call.context.clock.now(),
        new_id=call.context.new_id,
    )  # fmt: skip
    answer = RerateObject(
        dry_run=body.dry_run, examined=done.examined, left=done.left, changed=done.changed,
        became_priced=done.became_priced, unpriced=done.unpriced, list_difference_usd=format_usd(done.list_pusd),
        charge_difference_usd=format_usd(done.charge_pusd), next=None if done.place is None else _spelled(done.place),
    )  # fmt: skip
    detail = {
        "from": body.since, "to": body.until, "llm": body.llm, "reason": body.reason,
        **answer.model_dump(exclude={"object", "next"}),
    }  # fmt: skip
    return Change(body=render(answer), workspace_id=None, resource_id=None, detail=detail)


async def refund(call: Call, db: Connection, body: NewRefund) -> Change:
    amount_pusd = None if body.amount_usd is None else parse_usd(body.amount_usd)
    entry = await giving_back.refund(
        db, body.attempt_id, amount_pusd, _author(call, body.reason), now=call.context.clock.now(),
        new_id=call.context.new_id,
    )  # fmt: skip
    return await _given(db, entry)


async def credit(call: Call, db: Connection, body: NewCredit) -> Change:
    entry = await giving_back.credit(
        db, body.workspace_id, parse_usd(body.amount_usd), _author(call, body.reason), now=call.context.clock.now(),
        new_id=call.context.new_id,
    )  # fmt: skip
    return await _given(db, entry)


async def _given(db: Connection, entry: Entry) -> Change:
    row = await reading.get_billing(db, entry.id)
    assert row is not None
    shown = show_entry(row)
    detail = shown.model_dump(mode="json", include={"attempt_id", "kind", "amount_usd", "reason"})
    return Change(
        body=render(shown), workspace_id=entry.workspace_id, resource_id=entry.id, status=201, detail=detail
    )


def _author(call: Call, reason: str) -> Author:
    return Author(call.actor.kind, call.actor.id, reason)


def _spelled(place: Place) -> str:
    behind = "" if place.after is None else f"/{place.after[0].hex}/{place.after[1].hex}"
    return f"{place.day}{behind}"


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    day, *ids = text.split("/")
    try:
        at = date.fromisoformat(day)
    except ValueError:
        raise Refused(Reason.BAD_VALUE, "`after` must be `next` of the call before.", param="after") from None
    return Place(at, (UUID(hex=ids[0]), UUID(hex=ids[1])) if ids else None)


ENDPOINTS: tuple[Endpoint, ...] = (
    Write("POST", "/billing/rerate", "rerate", "billing", "Price attempts again", price_again, RerateObject, NewRerate),
    Write(
        "POST", "/billing/refunds", "refund", "billing", "Refund an attempt", refund, BillingEventObject, NewRefund,
        status=201,
    ),
    Write(
        "POST", "/billing/credits", "credit", "billing", "Give a workspace a credit", credit, BillingEventObject,
        NewCredit, status=201,
    ),
)  # fmt: skip
