"""`/user-variables`: own provider keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    Deleted,
    Listing,
    ListQuery,
    Moment,
    Part,
    ProviderName,
    UserId,
    VariableId,
    WorkspaceId,
    given,
    left_as_is,
)
from proxy.api.virtual_keys import hint
from proxy.audit.write import Change
from proxy.catalog.reading.names import require_provider
from proxy.identity import people
from proxy.storage.postgres import Connection
from proxy.vault import store, variables
from proxy.vault.store import Variable
from proxy.vault.variables import VariableChanged
from proxy.wire.ids import to_wire
from proxy.wire.refusals import Reason, Refused

ID = {"id": "uv"}
Scope = Literal["user", "workspace"]
Value = Annotated[str, Field(min_length=8, max_length=4096)]


class VariableObject(Part):
    """A workspace's or user's own key at a provider. Its value is sealed and never shown."""

    id: VariableId
    object: Literal["user_variable"] = "user_variable"
    workspace_id: WorkspaceId
    scope: Scope
    user_id: UserId | None
    provider: str
    hint: str
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class VariableList(Listing[VariableObject]):
    """User variables."""


class NewVariable(Part):
    workspace_id: WorkspaceId | None = None
    """May be left out by a key that is bound to a workspace."""
    scope: Scope
    user_id: UserId | None = None
    """With scope `user`: whose. The user's own key goes before the workspace's."""
    provider: ProviderName
    value: Value
    """Write only."""
    expires_at: Moment | None = None


class VariableChange(Part):
    value: Value = left_as_is()
    expires_at: Moment | None = None
    """Null: never."""


class VariableQuery(ListQuery):
    after: VariableId | None = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    scope: Scope | None = None
    provider: ProviderName | None = None


def show(variable: Variable) -> VariableObject:
    return VariableObject(
        id=variable.id, workspace_id=variable.workspace_id, scope=variable.scope, user_id=variable.user_id,
        provider=variable.provider, hint=hint("", variable.last4), expires_at=variable.expires_at,
        created_at=variable.created_at, updated_at=variable.updated_at,
    )  # fmt: skip


async def list_all(call: Call, db: Connection, query: VariableQuery) -> VariableList:
    rows = await store.list_variables(
        db, reach=call.reach(query.workspace_id), user_id=query.user_id, scope=query.scope, provider=query.provider,
        page=page_of(query, query.after),
    )  # fmt: skip
    return VariableList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> VariableObject:
    return show(await variables.get(db, call.path["id"], reach=call.own))


async def create(call: Call, db: Connection, body: NewVariable) -> Change:
    workspace_id = call.reach(body.workspace_id)
    if workspace_id is None:
        raise Refused(Reason.BAD_VALUE, "`workspace_id` is required.", param="workspace_id")
    await people.get_workspace(db, workspace_id, reach=call.own)
    if body.user_id is not None:
        await people.require_member(db, workspace_id=workspace_id, user_id=body.user_id)
    await require_provider(db, body.provider)
    done = await variables.create(
        db, call.context.vault, id=call.context.new_id(), workspace_id=workspace_id, scope=body.scope,
        user_id=body.user_id, provider=body.provider, value=body.value, expires_at=body.expires_at,
        now=call.context.clock.now(),
    )  # fmt: skip
    return _changed(done, ["value"], status=201)


async def change(call: Call, db: Connection, body: VariableChange) -> Change:
    fields = given(body)
    done = await variables.change(
        db, call.context.vault, call.path["id"], reach=call.own, value=body.value, expires_at=body.expires_at,
        clear_expiry="expires_at" in fields and body.expires_at is None, now=call.context.clock.now(),
    )  # fmt: skip
    return _changed(done, sorted(fields))


async def delete(call: Call, db: Connection, body: object) -> Change:
    done = await variables.delete(db, call.path["id"], reach=call.own)
    variable = done.value
    return Change(
        body=render(Deleted(id=to_wire("uv", variable.id), object="user_variable")), resource_id=variable.id,
        workspace_id=variable.workspace_id, scopes=done.scopes, detail={"provider": variable.provider},
    )  # fmt: skip


def _changed(done: VariableChanged, changed: list[str], status: int = 200) -> Change:
    """Auditors see which fields were set, never to what."""
    variable = done.value
    return Change(
        body=render(show(variable)), workspace_id=variable.workspace_id, resource_id=variable.id, status=status,
        scopes=done.scopes, detail={"provider": variable.provider, "scope": variable.scope, "set": changed},
    )  # fmt: skip


LIST, ONE, WHAT = "/user-variables", "/user-variables/{id}", "user_variable"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, WHAT, "List own provider keys", list_all, VariableList, VariableQuery),
    Write("POST", LIST, "create", WHAT, "Store an own provider key", create, VariableObject, NewVariable, status=201),
    Read(ONE, WHAT, "Get an own provider key, without its value", get, VariableObject, ids=ID),
    Write("PATCH", ONE, "update", WHAT, "Replace its value or expiry", change, VariableObject, VariableChange, ID),
    Write("DELETE", ONE, "delete", WHAT, "Delete an own provider key", delete, Deleted, ids=ID),
)
