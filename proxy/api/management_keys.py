"""`/management-keys`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    Deleted,
    Listing,
    ListQuery,
    ManagementKeyId,
    Moment,
    Name,
    Part,
    Role,
    Status,
    WorkspaceId,
    given,
    left_as_is,
)
from proxy.api.virtual_keys import hint
from proxy.audit.write import Change
from proxy.identity.keys import issue, store
from proxy.identity.records import Changed, Issued, ManagementKey
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire

ID = {"id": "mk"}


class ManagementKeyObject(Part):
    """A key for this API. With a workspace it reaches nothing outside of it."""

    id: ManagementKeyId
    object: Literal["management_key"] = "management_key"
    workspace_id: WorkspaceId | None
    """Null: the platform."""
    role: Role
    name: str
    hint: str
    expires_at: datetime | None
    status: Status
    created_at: datetime


class NewManagementKeyObject(ManagementKeyObject):
    """With the key: this once."""

    key: str


class ManagementKeyList(Listing[ManagementKeyObject]):
    """Management keys."""


class NewManagementKey(Part):
    workspace_id: WorkspaceId | None = None
    """Null: the platform, or the own workspace of the key that asks."""
    role: Role
    """Not above the role of the key that asks. For the platform: `admin`."""
    name: Name
    expires_at: Moment | None = None


class ManagementKeyChange(Part):
    name: Name = left_as_is()
    expires_at: Moment | None = None
    """Null: never."""


class ManagementKeyQuery(ListQuery):
    after: ManagementKeyId | None = None
    workspace_id: WorkspaceId | None = None
    role: Role | None = None
    name: Name | None = None
    status: Status | None = None


def show(key: ManagementKey) -> ManagementKeyObject:
    return ManagementKeyObject(**_fields(key))


async def list_all(call: Call, db: Connection, query: ManagementKeyQuery) -> ManagementKeyList:
    rows = await store.list_management(
        db, reach=call.reach(query.workspace_id), role=query.role, name=query.name, status=query.status,
        page=page_of(query, query.after),
    )  # fmt: skip
    return ManagementKeyList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> ManagementKeyObject:
    return show(await issue.get_management(db, call.path["id"], reach=call.own))


async def create(call: Call, db: Connection, body: NewManagementKey) -> Change:
    issued = await issue.issue_management(
        db, call.context.hasher, id=call.context.new_id(), workspace_id=call.reach(body.workspace_id), role=body.role,
        name=body.name, expires_at=body.expires_at, now=call.context.clock.now(), reach=call.own, guard=call.guard,
    )  # fmt: skip
    return _issued(issued, {"name": body.name, "role": body.role}, status=201)


async def change(call: Call, db: Connection, body: ManagementKeyChange) -> Change:
    fields = given(body)
    done = await issue.change_management(
        db, call.path["id"], reach=call.own, guard=call.guard, now=call.context.clock.now(), **fields,
        clear=frozenset(name for name, value in fields.items() if value is None),
    )  # fmt: skip
    return _changed(done, fields)


async def rotate(call: Call, db: Connection, body: object) -> Change:
    issued = await issue.rotate_management(db, call.context.hasher, call.path["id"], reach=call.own, guard=call.guard)
    return _issued(issued, {})


async def block(call: Call, db: Connection, body: object) -> Change:
    return await _set_status(call, db, "blocked")


async def unblock(call: Call, db: Connection, body: object) -> Change:
    return await _set_status(call, db, "active")


async def delete(call: Call, db: Connection, body: object) -> Change:
    key = (await issue.delete_management(db, call.path["id"], reach=call.own, guard=call.guard)).value
    return Change(
        body=render(Deleted(id=to_wire("mk", key.id), object="management_key")), workspace_id=key.workspace_id,
        resource_id=key.id, detail={"name": key.name},
    )  # fmt: skip


async def _set_status(call: Call, db: Connection, status: Status) -> Change:
    done = await issue.change_management(
        db, call.path["id"], reach=call.own, guard=call.guard, now=call.context.clock.now(), status=status
    )
    return _changed(done, {})


def _fields(key: ManagementKey) -> dict[str, Any]:
    return {
        "id": key.id, "workspace_id": key.workspace_id, "role": key.role, "name": key.name,
        "hint": hint("", key.last4), "expires_at": key.expires_at, "status": key.status, "created_at": key.created_at,
    }  # fmt: skip


def _changed(done: Changed[ManagementKey], detail: dict[str, object]) -> Change:
    return Change(
        body=render(show(done.value)), workspace_id=done.value.workspace_id, resource_id=done.value.id, detail=detail
    )


def _issued(issued: Issued[ManagementKey], detail: dict[str, object], status: int = 200) -> Change:
    body = NewManagementKeyObject(**_fields(issued.value), key=issued.secret)
    return Change(
        body=render(body), workspace_id=issued.value.workspace_id, resource_id=issued.value.id, status=status,
        detail=detail,
    )  # fmt: skip


LIST, ONE, WHAT = "/management-keys", "/management-keys/{id}", "management_key"
KEY, SHOWN = ManagementKeyObject, NewManagementKeyObject
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, WHAT, "List management keys", list_all, ManagementKeyList, ManagementKeyQuery),
    Write("POST", LIST, "create", WHAT, "Make a management key", create, SHOWN, NewManagementKey, status=201),
    Read(ONE, WHAT, "Get a management key", get, KEY, ids=ID),
    Write("PATCH", ONE, "update", WHAT, "Change a management key", change, KEY, ManagementKeyChange, ID),
    Write("DELETE", ONE, "delete", WHAT, "Delete a management key", delete, Deleted, ids=ID),
    Write("POST", f"{ONE}/rotate", "rotate", WHAT, "A new secret; the old one ends", rotate, SHOWN, ids=ID),
    Write("POST", f"{ONE}/block", "block", WHAT, "Stop a management key", block, KEY, ids=ID),
    Write("POST", f"{ONE}/unblock", "unblock", WHAT, "Let it work again", unblock, KEY, ids=ID),
)
