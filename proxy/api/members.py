"""`/workspaces/{id}/members`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import Deleted, Listing, ListQuery, Part, Role, UserId, WorkspaceId
from proxy.audit.write import Change
from proxy.identity import people, store
from proxy.identity.records import Changed, Member
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire

OF = {"workspace_id": "ws"}
ID = {"workspace_id": "ws", "user_id": "user"}


class MemberObject(Part):
    """A user in a workspace; `id` is the user's."""

    id: UserId
    object: Literal["member"] = "member"
    workspace_id: WorkspaceId
    user_id: UserId
    role: Role
    email: str
    name: str
    created_at: datetime


class MemberList(Listing[MemberObject]):
    """Members of a workspace, by user."""


class NewMember(Part):
    user_id: UserId
    role: Role


class MemberChange(Part):
    role: Role


class MemberQuery(ListQuery):
    after: UserId | None = None
    role: Role | None = None
    user_id: UserId | None = None


def show(member: Member) -> MemberObject:
    return MemberObject(
        id=member.user_id, workspace_id=member.workspace_id, user_id=member.user_id, role=member.role,
        email=member.email, name=member.name, created_at=member.created_at,
    )  # fmt: skip


async def list_all(call: Call, db: Connection, query: MemberQuery) -> MemberList:
    workspace = await people.get_workspace(db, call.path["workspace_id"], reach=call.own)
    rows = await store.list_members(
        db, workspace_id=workspace.id, role=query.role, user_id=query.user_id, page=page_of(query, query.after)
    )
    return MemberList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> MemberObject:
    workspace = await people.get_workspace(db, call.path["workspace_id"], reach=call.own)
    return show(await people.get_member(db, workspace_id=workspace.id, user_id=call.path["user_id"]))


async def add(call: Call, db: Connection, body: NewMember) -> Change:
    done = await people.add_member(
        db, workspace_id=call.path["workspace_id"], user_id=body.user_id, role=body.role, reach=call.own,
        guard=call.guard,
    )  # fmt: skip
    return _changed(done, status=201)


async def change(call: Call, db: Connection, body: MemberChange) -> Change:
    done = await people.change_member(
        db, workspace_id=call.path["workspace_id"], user_id=call.path["user_id"], role=body.role, guard=call.guard
    )
    return _changed(done)


async def remove(call: Call, db: Connection, body: object) -> Change:
    workspace_id, user_id = call.path["workspace_id"], call.path["user_id"]
    done = await people.remove_member(db, workspace_id=workspace_id, user_id=user_id, guard=call.guard)
    return Change(
        body=render(Deleted(id=to_wire("user", user_id), object="member")), workspace_id=workspace_id,
        resource_id=user_id, scopes=done.scopes,
    )  # fmt: skip


def _changed(done: Changed[Member], status: int = 200) -> Change:
    member = done.value
    return Change(
        body=render(show(member)), workspace_id=member.workspace_id, resource_id=member.user_id, status=status,
        scopes=done.scopes, detail={"role": member.role},
    )  # fmt: skip


LIST = "/workspaces/{workspace_id}/members"
ONE = f"{LIST}/{{user_id}}"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, "member", "List members", list_all, MemberList, MemberQuery, OF),
    Write("POST", LIST, "create", "member", "Add a user to a workspace", add, MemberObject, NewMember, OF, status=201),
    Read(ONE, "member", "Get a member", get, MemberObject, ids=ID),
    Write("PATCH", ONE, "update", "member", "Change a member's role", change, MemberObject, MemberChange, ID),
    Write("DELETE", ONE, "delete", "member", "Remove a member; their keys stop working", remove, Deleted, ids=ID),
)
