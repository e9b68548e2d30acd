"""`/billing/events`: who owes what."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pricing.money import format_usd
from proxy.api.endpoint import Call, Endpoint, Read, listing, page_of
from proxy.api.schema import (
    AttemptId,
    BillingId,
    KeyId,
    Listing,
    ListQuery,
    ManagementKeyId,
    Part,
    Usd,
    UserId,
    WorkspaceId,
)
from proxy.api.usage import Since, Until
from proxy.ledger.reading import store
from proxy.ledger.reading.store import BillingFilter, BillingRow
from proxy.storage.postgres import Connection

Kind = Literal["usage", "platform_fee", "adjustment", "refund", "credit"]


class BillingEventObject(Part):
    """An entry of the ledger. It is never changed: a correction is another entry that names it."""

    id: BillingId
    object: Literal["billing_event"] = "billing_event"
    workspace_id: WorkspaceId
    user_id: UserId | None
    """Null, as are key and attempt: a credit that no attempt caused."""
    virtual_key_id: KeyId | None
    attempt_id: AttemptId | None
    kind: Kind
    """`usage`, `platform_fee`: of an attempt, one of them at most. `adjustment`: its price or its end was corrected."""
    amount_usd: Usd
    """What the workspace owes by it: negative in refunds and credits, either in adjustments."""
    corrects: BillingId | None
    """The entry that it changes or reverses."""
    reason: str
    actor_kind: Literal["management_key", "system"]
    actor_id: ManagementKeyId
    """Who made it; of what the gateway does by itself, zeros."""
    occurred_at: datetime
    """When the attempt was made; a credit without one: when it was given."""
    created_at: datetime


class BillingEventList(Listing[BillingEventObject]):
    as_of: datetime | None
    """The ledger holds everything settled before this."""


class BillingQuery(ListQuery):
    after: BillingId | None = None
    since: Since = None
    until: Until = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    virtual_key_id: KeyId | None = None
    attempt_id: AttemptId | None = None
    kind: Kind | None = None


async def list_all(call: Call, db: Connection, query: BillingQuery) -> BillingEventList:
    workspace_id = call.reach(query.workspace_id)
    as_of = await store.as_of(db)
    wanted = BillingFilter(
        workspace_id=workspace_id, since=query.since, until=query.until, user_id=query.user_id,
        virtual_key_id=query.virtual_key_id, attempt_id=query.attempt_id, kind=query.kind,
    )  # fmt: skip
    rows = await store.list_billing(db, wanted, page_of(query, query.after))
    return BillingEventList(**listing(rows, query.limit, show_entry), as_of=as_of)


def show_entry(row: BillingRow) -> BillingEventObject:
    return BillingEventObject.model_validate(
        {
            "id": row.id,
            "workspace_id": row.workspace_id,
            "user_id": row.user_id,
            "virtual_key_id": row.virtual_key_id,
            "attempt_id": row.attempt_id,
            "kind": row.kind,
            "amount_usd": format_usd(row.amount_pusd),
            "corrects": row.corrects,
            "reason": row.reason,
            "actor_kind": row.actor_kind,
            "actor_id": row.actor_id,
            "occurred_at": row.occurred_at,
            "created_at": row.created_at,
        }  # fmt: skip
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Read("/billing/events", "billing", "List entries of the ledger", list_all, BillingEventList, BillingQuery),
)
