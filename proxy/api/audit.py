"""`/audit`: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from proxy.api.endpoint import Call, Endpoint, Read, listing, page_of
from proxy.api.schema import AuditId, Listing, ListQuery, ManagementKeyId, Part, WorkspaceId
from proxy.audit import store
from proxy.audit.store import Entry
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire

Word = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
# The prefix of the id that a changed resource has.
_PREFIXES = {
    "workspace": "ws", "member": "user", "user": "user", "virtual_key": "key", "management_key": "mk",
    "user_variable": "uv", "provider_object": "obj", "price": "pver", "export": "exp", "billing": "bill", "deployment": "ws",
}  # fmt: skip


class AuditEntryObject(Part):
    """One change, as it was committed."""

    id: AuditId
    object: Literal["audit_entry"] = "audit_entry"
    created_at: datetime
    actor_kind: Literal["management_key", "system"]
    actor_id: ManagementKeyId
    workspace_id: WorkspaceId | None
    verb: str
    resource: str
    resource_id: str | None
    detail: dict[str, Any]
    """What was set; never a secret."""


class AuditList(Listing[AuditEntryObject]):
    """Changes."""


class AuditQuery(ListQuery):
    after: AuditId | None = None
    workspace_id: WorkspaceId | None = None
    actor_id: ManagementKeyId | None = None
    verb: Word | None = None
    resource: Word | None = None


async def list_all(call: Call, db: Connection, query: AuditQuery) -> AuditList:
    rows = await store.list_entries(
        db, reach=call.reach(query.workspace_id), actor_id=query.actor_id, verb=query.verb, resource=query.resource,
        page=page_of(query, query.after),
    )  # fmt: skip
    return AuditList(**listing(rows, query.limit, _show))


def _show(entry: Entry) -> AuditEntryObject:
    prefix = _PREFIXES.get(entry.resource)
    return AuditEntryObject.model_validate(
        {
            "id": entry.id,
            "created_at": entry.at,
            "actor_kind": entry.actor_kind,
            "actor_id": entry.actor_id,
            "workspace_id": entry.workspace_id,
            "verb": entry.verb,
            "resource": entry.resource,
            "resource_id": None if entry.resource_id is None or prefix is None else to_wire(prefix, entry.resource_id),
            "detail": orjson.loads(entry.detail or "{}"),
        }  # fmt: skip
    )


ENDPOINTS: tuple[Endpoint, ...] = (Read("/audit", "audit", "List changes", list_all, AuditList, AuditQuery),)
