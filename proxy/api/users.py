"""`/users`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import Email, Listing, ListQuery, Name, Part, Status, Text, UserId, WorkspaceId, given, left_as_is
from proxy.audit.write import Change
from proxy.identity import people, store
from proxy.identity.records import Changed, User
from proxy.storage.postgres import Connection

ID = {"user_id": "user"}


class UserObject(Part):
    """A person or a service; may be a member of several workspaces."""

    id: UserId
    object: Literal["user"] = "user"
    email: str
    name: str
    status: Status
    created_at: datetime


class UserList(Listing[UserObject]):
    """Users: those of the workspace, or all for the platform."""


class NewUser(Part):
    """Created by a workspace's key, the user becomes a `member` of that workspace."""

    email: Email
    name: Text = ""


class UserChange(Part):
    email: Email = left_as_is()
    name: Text = left_as_is()


class UserQuery(ListQuery):
    after: UserId | None = None
    workspace_id: WorkspaceId | None = None
    email: Email | None = None
    name: Name | None = None
    status: Status | None = None


def show(user: User) -> UserObject:
    return UserObject(id=user.id, email=user.email, name=user.name, status=user.status, created_at=user.created_at)


async def list_all(call: Call, db: Connection, query: UserQuery) -> UserList:
    rows = await store.list_users(
        db, reach=call.reach(query.workspace_id), email=query.email, name=query.name, status=query.status,
        page=page_of(query, query.after),
    )  # fmt: skip
    return UserList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> UserObject:
    return show(await people.get_user(db, call.path["user_id"], reach=call.own))


async def create(call: Call, db: Connection, body: NewUser) -> Change:
    done = await people.create_user(db, id=call.context.new_id(), email=body.email, name=body.name, reach=call.own)
    return _changed(done, {"email": body.email}, call.own, status=201)


async def change(call: Call, db: Connection, body: UserChange) -> Change:
    fields = given(body)
    return _changed(await people.change_user(db, call.path["user_id"], **fields), fields, None)


async def block(call: Call, db: Connection, body: object) -> Change:
    return _changed(await people.change_user(db, call.path["user_id"], status="blocked"), {}, None)


async def unblock(call: Call, db: Connection, body: object) -> Change:
    return _changed(await people.change_user(db, call.path["user_id"], status="active"), {}, None)


def _changed(done: Changed[User], detail: dict[str, object], workspace_id: UUID | None, status: int = 200) -> Change:
    return Change(
        body=render(show(done.value)), workspace_id=workspace_id, resource_id=done.value.id, status=status,
        scopes=done.scopes, detail=detail,
    )  # fmt: skip


PATH = "/users/{user_id}"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read("/users", "user", "List users", list_all, UserList, UserQuery),
    Write("POST", "/users", "create", "user", "Create a user", create, UserObject, NewUser, status=201),
    Read(PATH, "user", "Get a user", get, UserObject, ids=ID),
    Write("PATCH", PATH, "update", "user", "Change a user", change, UserObject, UserChange, ID),
    Write("POST", f"{PATH}/block", "block", "user", "Stop all keys of a user, everywhere", block, UserObject, ids=ID),
    Write("POST", f"{PATH}/unblock", "unblock", "user", "Let them work again", unblock, UserObject, ids=ID),
)
