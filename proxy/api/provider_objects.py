"""`/provider-objects`: the ids that providers minted for a workspace (responses, files, …), and at which account they lie."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import Listing, ListQuery, Part, ProviderName, VariableId, WireId, WorkspaceId
from proxy.audit.write import Change
from proxy.catalog.reading.names import require_provider
from proxy.identity import people
from proxy.objects import store
from proxy.objects.kinds import KINDS, Account
from proxy.objects.store import ProviderObject, Row
from proxy.storage.postgres import Connection
from proxy.vault import variables
from proxy.wire.ids import NIL
from proxy.wire.refusals import Reason, Refused

RecordedId = Annotated[UUID, WireId("obj")]
Kind = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
ObjectId = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.:-]{0,254}[A-Za-z0-9_-])?$")]


class RecordedObject(Part):
    """An object at a provider: only its id is known here, never its content."""

    id: RecordedId
    object: Literal["provider_object"] = "provider_object"
    workspace_id: WorkspaceId
    provider: str
    user_variable_id: VariableId | None
    """The own provider key at whose account it lies; null: the platform's account."""
    kind: str
    object_id: str
    """What the provider calls it."""
    created_at: datetime
    last_used_at: datetime
    """To the hour."""
    expires_at: datetime | None
    """Forgotten after this, if it is not used again; null: when it is deleted."""
    deleted_at: datetime | None


class RecordedObjectList(Listing[RecordedObject]):
    """Provider objects."""


class NewRecordedObject(Part):
    """An object that was made elsewhere, such as a stored prompt or a file of before: from then on it is this workspace's."""

    workspace_id: WorkspaceId | None = None
    """May be left out by a key that is bound to a workspace."""
    provider: ProviderName
    user_variable_id: VariableId | None = None
    """Left out: it lies at the platform's account, and only the platform may say whose it is."""
    kind: Kind
    object_id: ObjectId


class RecordedObjectQuery(ListQuery):
    after: RecordedId | None = None
    workspace_id: WorkspaceId | None = None
    provider: ProviderName | None = None
    user_variable_id: VariableId | None = None
    kind: Kind | None = None
    object_id: ObjectId | None = None
    with_deleted: bool = False
    """Also those that were deleted within the last 30 days."""


async def list_all(call: Call, db: Connection, query: RecordedObjectQuery) -> RecordedObjectList:
    rows = await store.list_objects(
        db, reach=call.reach(query.workspace_id), provider=query.provider, kind=query.kind, object_id=query.object_id,
        user_variable_id=query.user_variable_id, with_deleted=query.with_deleted, page=page_of(query, query.after),
    )  # fmt: skip
    return RecordedObjectList(**listing(rows, query.limit, _show))


async def create(call: Call, db: Connection, body: NewRecordedObject) -> Change:
    workspace_id = call.reach(body.workspace_id)
    if workspace_id is None:
        raise Refused(Reason.BAD_VALUE, "`workspace_id` is required.", param="workspace_id")
    await people.get_workspace(db, workspace_id, reach=call.own)
    if body.kind not in KINDS:
        raise Refused(Reason.BAD_VALUE, f"There is no such kind. Kinds: {', '.join(sorted(KINDS))}.", param="kind")
    await _require_account(call, db, body, workspace_id)
    account = Account(body.provider, body.user_variable_id or NIL)
    row = Row(call.context.new_id(), workspace_id, account, body.kind, body.object_id, None)
    added = await store.add(db, row)
    if added is None:
        raise Refused(Reason.CONFLICT, "This object is recorded already.", param="object_id")
    return Change(
        body=render(_show(added)), workspace_id=workspace_id, resource_id=added.id, status=201,
        detail={"provider": body.provider, "kind": body.kind, "object_id": body.object_id},
    )  # fmt: skip


async def _require_account(call: Call, db: Connection, body: NewRecordedObject, workspace_id: UUID) -> None:
    if body.user_variable_id is None:
        if call.own is not None:
            raise Refused(
                Reason.FORBIDDEN,
                "Whose an object at the platform's account is, only the platform can say. Name the own key at whose "
                "account it lies with `user_variable_id`.",
                param="user_variable_id",
            )
        await require_provider(db, body.provider)
        return
    variable = await variables.get(db, body.user_variable_id, reach=workspace_id)
    if variable.provider != body.provider:
        raise Refused(Reason.BAD_VALUE, f"This key is one of {variable.provider}.", param="provider")


def _show(row: ProviderObject) -> RecordedObject:
    return RecordedObject(
        id=row.id, workspace_id=row.workspace_id, provider=row.provider,
        user_variable_id=None if row.user_variable_id == NIL else row.user_variable_id, kind=row.kind,
        object_id=row.object_id, created_at=row.created_at, last_used_at=row.last_used_at, expires_at=row.expires_at,
        deleted_at=row.deleted_at,
    )  # fmt: skip


LIST, WHAT = "/provider-objects", "provider_object"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, WHAT, "List objects at providers", list_all, RecordedObjectList, RecordedObjectQuery),
    Write(
        "POST", LIST, "create", WHAT, "Say whose an object at a provider is", create, RecordedObject, NewRecordedObject,
        status=201,
    ),
)  # fmt: skip
