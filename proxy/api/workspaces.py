"""`/workspaces`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    ClientLeaves,
    KeyPolicy,
    Listing,
    ListQuery,
    Name,
    Part,
    Status,
    WorkspaceId,
    given,
    left_as_is,
)
from proxy.audit.write import Change
from proxy.identity import people, store
from proxy.identity.records import Changed, Workspace
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

ID = {"workspace_id": "ws"}


class WorkspaceObject(Part):
    """A tenant: people, keys and bills that nobody else sees."""

    id: WorkspaceId
    object: Literal["workspace"] = "workspace"
    name: str
    key_policy: KeyPolicy
    """Whose provider key is used: an own one, the platform's, or one after the other."""
    time_zone: str
    client_leaves: ClientLeaves
    """What becomes of an answer whose client has left: read to its end within bounds (`drain`), ended at once
    (`cancel`), ended and not charged (`void`), or whichever of the first two is right for it (`auto`)."""
    status: Status
    created_at: datetime


class WorkspaceList(Listing[WorkspaceObject]):
    """Workspaces."""


class NewWorkspace(Part):
    name: Name
    key_policy: KeyPolicy = "own_else_global"
    time_zone: Name = "UTC"
    client_leaves: ClientLeaves = "auto"


class WorkspaceChange(Part):
    name: Name = left_as_is()
    key_policy: KeyPolicy = left_as_is()
    time_zone: Name = left_as_is()
    client_leaves: ClientLeaves = left_as_is()


class WorkspaceQuery(ListQuery):
    after: WorkspaceId | None = None
    name: Name | None = None
    status: Status | None = None


def show(workspace: Workspace) -> WorkspaceObject:
    return WorkspaceObject(
        id=workspace.id, name=workspace.name, key_policy=workspace.key_policy, time_zone=workspace.time_zone,
        client_leaves=workspace.client_leaves, status=workspace.status, created_at=workspace.created_at,
    )  # fmt: skip


async def list_all(call: Call, db: Connection, query: WorkspaceQuery) -> WorkspaceList:
    rows = await store.list_workspaces(
        db, reach=call.own, name=query.name, status=query.status, page=page_of(query, query.after)
    )
    return WorkspaceList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> WorkspaceObject:
    return show(await people.get_workspace(db, call.path["workspace_id"], reach=call.own))


async def create(call: Call, db: Connection, body: NewWorkspace) -> Change:
    done = await people.create_workspace(
        db, id=call.context.new_id(), name=body.name, shards=call.context.shards, key_policy=body.key_policy,
        time_zone=body.time_zone, client_leaves=body.client_leaves,
    )  # fmt: skip
    return _changed(done, {"name": body.name}, status=201)


async def change(call: Call, db: Connection, body: WorkspaceChange) -> Change:
    fields = given(body)
    if call.own is not None and body.client_leaves == "void":
        raise Refused(
            Reason.FORBIDDEN,
            "What a client leaves is paid by the operator under `void`, so only the platform may set it.",
            param="client_leaves",
        )
    done = await people.change_workspace(db, call.path["workspace_id"], reach=call.own, **fields)
    return _changed(done, fields)


async def block(call: Call, db: Connection, body: object) -> Change:
    return _changed(await people.change_workspace(db, call.path["workspace_id"], reach=call.own, status="blocked"), {})


async def unblock(call: Call, db: Connection, body: object) -> Change:
    return _changed(await people.change_workspace(db, call.path["workspace_id"], reach=call.own, status="active"), {})


def _changed(done: Changed[Workspace], detail: dict[str, object], status: int = 200) -> Change:
    workspace = done.value
    return Change(
        body=render(show(workspace)), workspace_id=workspace.id, resource_id=workspace.id, status=status,
        scopes=done.scopes, detail=detail,
    )  # fmt: skip


LIST, ONE, WHAT = "/workspaces", "/workspaces/{workspace_id}", "workspace"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, WHAT, "List workspaces", list_all, WorkspaceList, WorkspaceQuery),
    Write("POST", LIST, "create", WHAT, "Create a workspace", create, WorkspaceObject, NewWorkspace, status=201),
    Read(ONE, WHAT, "Get a workspace", get, WorkspaceObject, ids=ID),
    Write("PATCH", ONE, "update", WHAT, "Change a workspace", change, WorkspaceObject, WorkspaceChange, ID),
    Write("POST", f"{ONE}/block", "block", WHAT, "Stop all keys of a workspace", block, WorkspaceObject, ids=ID),
    Write("POST", f"{ONE}/unblock", "unblock", WHAT, "Let them work again", unblock, WorkspaceObject, ids=ID),
)  # fmt: skip
