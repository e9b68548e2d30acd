"""`/alerts`: what somebody should look at."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from proxy.alerts import store
from proxy.alerts.kinds import FIXES, Kind
from proxy.alerts.store import Alert
from proxy.api.endpoint import Call, Endpoint, Read, listing, page_of
from proxy.api.schema import AlertId, Listing, ListQuery, Part, WorkspaceId
from proxy.storage.postgres import Connection

State = Literal["firing", "resolved"]


class AlertObject(Part):
    """Raised once, seen again as long as it is true, resolved by itself when it is not."""

    id: AlertId
    object: Literal["alert"] = "alert"
    kind: str
    subject: str
    """What it is about: openai/gpt-5, a shard."""
    workspace_id: WorkspaceId | None
    """Null: the platform's."""
    state: State
    message: str
    fix: str
    """What to do about it; empty for a kind that this version does not know."""
    created_at: datetime
    seen_at: datetime
    """When it was last found to be true."""
    resolved_at: datetime | None


class AlertList(Listing[AlertObject]):
    """Alerts."""


class AlertQuery(ListQuery):
    after: AlertId | None = None
    workspace_id: WorkspaceId | None = None
    state: State | None = None
    kind: Kind | None = None


async def list_all(call: Call, db: Connection, query: AlertQuery) -> AlertList:
    rows = await store.list_alerts(
        db, reach=call.reach(query.workspace_id), kind=query.kind,
        is_firing=None if query.state is None else query.state == "firing", page=page_of(query, query.after),
    )  # fmt: skip
    return AlertList(**listing(rows, query.limit, _show))


def _show(alert: Alert) -> AlertObject:
    return AlertObject(
        id=alert.id, kind=alert.kind, subject=alert.subject, workspace_id=alert.workspace_id,
        state="firing" if alert.resolved_at is None else "resolved", message=alert.message,
        fix=FIXES.get(alert.kind, ""), created_at=alert.raised_at, seen_at=alert.seen_at, resolved_at=alert.resolved_at,
    )  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (Read("/alerts", "alert", "List alerts", list_all, AlertList, AlertQuery),)
