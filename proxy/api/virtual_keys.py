"""`/virtual-keys`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    Deleted,
    KeyId,
    Listing,
    ListQuery,
    LlmName,
    Moment,
    Name,
    Part,
    Status,
    UserId,
    WorkspaceId,
    given,
    left_as_is,
)
from proxy.audit.write import Change
from proxy.catalog.reading.names import require_llms
from proxy.identity.keys import issue, store
from proxy.identity.records import Changed, Issued, VirtualKey
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire
from proxy.wire.refusals import Reason, Refused

ID = {"id": "key"}
Llms = Annotated[list[LlmName], Field(min_length=1, max_length=500)]


class VirtualKeyObject(Part):
    """A key that clients send to `/v1`. The key itself is shown once, when it is made."""

    id: KeyId
    object: Literal["virtual_key"] = "virtual_key"
    workspace_id: WorkspaceId
    user_id: UserId
    name: str
    hint: str
    """How it ends: enough to recognise it, too little to use it."""
    imported: bool
    llms: list[str] | None
    """The llms it may use; null: all."""
    expires_at: datetime | None
    status: Status
    created_at: datetime


class NewVirtualKeyObject(VirtualKeyObject):
    """With the key: this once."""

    key: str


class VirtualKeyList(Listing[VirtualKeyObject]):
    """Virtual keys."""


class NewVirtualKey(Part):
    workspace_id: WorkspaceId | None = None
    """May be left out by a key that is bound to a workspace."""
    user_id: UserId
    """A member of the workspace."""
    name: Name
    llms: Llms | None = None
    expires_at: Moment | None = None
    key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """An existing key of your own to import, so that clients need not change. Null: a new one is made."""


class VirtualKeyChange(Part):
    name: Name = left_as_is()
    llms: Llms | None = None
    """Null: all."""
    expires_at: Moment | None = None
    """Null: never."""


class VirtualKeyQuery(ListQuery):
    after: KeyId | None = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    name: Name | None = None
    status: Status | None = None


def show(key: VirtualKey) -> VirtualKeyObject:
    return VirtualKeyObject(**_fields(key))


async def list_all(call: Call, db: Connection, query: VirtualKeyQuery) -> VirtualKeyList:
    rows = await store.list_virtual(
        db, reach=call.reach(query.workspace_id), user_id=query.user_id, name=query.name, status=query.status,
        page=page_of(query, query.after),
    )  # fmt: skip
    return VirtualKeyList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> VirtualKeyObject:
    return show(await issue.get_virtual(db, call.path["id"], reach=call.own))


async def create(call: Call, db: Connection, body: NewVirtualKey) -> Change:
    workspace_id = call.reach(body.workspace_id)
    if workspace_id is None:
        raise Refused(Reason.BAD_VALUE, "`workspace_id` is required.", param="workspace_id")
    await require_llms(db, body.llms)
    issued = await issue.issue_virtual(
        db, call.context.hasher, id=call.context.new_id(), workspace_id=workspace_id, user_id=body.user_id,
        name=body.name, llms=body.llms, expires_at=body.expires_at, literal=body.key, now=call.context.clock.now(),
        reach=call.own,
    )  # fmt: skip
    return _issued(issued, {"name": body.name, "user_id": to_wire("user", body.user_id)}, status=201)


async def change(call: Call, db: Connection, body: VirtualKeyChange) -> Change:
    fields = given(body)
    await require_llms(db, body.llms)
    done = await issue.change_virtual(
        db, call.path["id"], reach=call.own, now=call.context.clock.now(), **fields,
        clear=frozenset(name for name, value in fields.items() if value is None),
    )  # fmt: skip
    return _changed(done, fields)


async def rotate(call: Call, db: Connection, body: object) -> Change:
    return _issued(await issue.rotate_virtual(db, call.context.hasher, call.path["id"], reach=call.own), {})


async def block(call: Call, db: Connection, body: object) -> Change:
    return await _set_status(call, db, "blocked")


async def unblock(call: Call, db: Connection, body: object) -> Change:
    return await _set_status(call, db, "active")


async def delete(call: Call, db: Connection, body: object) -> Change:
    done = await issue.delete_virtual(db, call.path["id"], reach=call.own)
    key = done.value
    return Change(
        body=render(Deleted(id=to_wire("key", key.id), object="virtual_key")), workspace_id=key.workspace_id,
        resource_id=key.id, scopes=done.scopes, detail={"name": key.name},
    )  # fmt: skip


async def _set_status(call: Call, db: Connection, status: Status) -> Change:
    done = await issue.change_virtual(db, call.path["id"], reach=call.own, now=call.context.clock.now(), status=status)
    return _changed(done, {})


def _fields(key: VirtualKey) -> dict[str, Any]:
    return {
        "id": key.id, "workspace_id": key.workspace_id, "user_id": key.user_id, "name": key.name,
        "hint": hint("" if key.imported else "sk-syn-", key.last4), "imported": key.imported,
        "llms": None if key.llms is None else list(key.llms), "expires_at": key.expires_at, "status": key.status,
        "created_at": key.created_at,
    }  # fmt: skip


def hint(prefix: str, last4: str) -> str:
    return f"{prefix}…{last4}"


def _changed(done: Changed[VirtualKey], detail: dict[str, object]) -> Change:
    return Change(
        body=render(show(done.value)), workspace_id=done.value.workspace_id, resource_id=done.value.id,
        scopes=done.scopes, detail=detail,
    )  # fmt: skip


def _issued(issued: Issued[VirtualKey], detail: dict[str, object], status: int = 200) -> Change:
    body = NewVirtualKeyObject(**_fields(issued.value), key=issued.secret)
    return Change(
        body=render(body), workspace_id=issued.value.workspace_id, resource_id=issued.value.id, status=status,
        scopes=issued.scopes, detail=detail,
    )  # fmt: skip


LIST, ONE = "/virtual-keys", "/virtual-keys/{id}"
KEY, SHOWN = VirtualKeyObject, NewVirtualKeyObject
ENDPOINTS: Sequence[Endpoint] = (
    Read(LIST, "virtual_key", "List virtual keys", list_all, VirtualKeyList, VirtualKeyQuery),
    Write("POST", LIST, "create", "virtual_key", "Make or import a key", create, SHOWN, NewVirtualKey, status=201),
    Read(ONE, "virtual_key", "Get a virtual key", get, KEY, ids=ID),
    Write("PATCH", ONE, "update", "virtual_key", "Change a virtual key", change, KEY, VirtualKeyChange, ID),
    Write("DELETE", ONE, "delete", "virtual_key", "Delete a virtual key", delete, Deleted, ids=ID),
    Write("POST", f"{ONE}/rotate", "rotate", "virtual_key", "A new secret; the old one ends", rotate, SHOWN, ids=ID),
    Write("POST", f"{ONE}/block", "block", "virtual_key", "Stop a virtual key", block, KEY, ids=ID),
    Write("POST", f"{ONE}/unblock", "unblock", "virtual_key", "Let it work again", unblock, KEY, ids=ID),
)
