"""What may be done to workspaces, users and memberships. Each function runs in the caller's transaction.

`reach`: the workspace that the caller is bound to, None for the platform. `guard` is asked about every role that is
given or taken away, while the row is locked; it raises where the caller stands below that role.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from proxy.identity import store
from proxy.identity.principal import ClientLeaves, KeyPolicy
from proxy.identity.records import Changed, Member, Status, User, Workspace, WorkspaceRole
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

Guard = Callable[[WorkspaceRole], None]
NOWHERE: frozenset[UUID] = frozenset()


def no_such(what: str) -> Refused:
    """The same words for what is not there and for what belongs to somebody else."""
    return Refused(Reason.NOT_FOUND, f"No such {what}. Check the id; this key reaches only what its workspace owns.")


async def create_workspace(
    db: Connection,
    *,
    id: UUID,
    name: str,
    shards: int,
    key_policy: KeyPolicy = "own_else_global",
    time_zone: str = "UTC",
    client_leaves: ClientLeaves = "auto",
) -> Changed[Workspace]:
    """The shard follows from the id (whose low bits are random); the column decides from then on."""
    await _require_zone(db, time_zone)
    workspace = await store.insert_workspace(
        db, id=id, name=name, shard=id.int % shards, key_policy=key_policy, time_zone=time_zone,
        client_leaves=client_leaves,
    )  # fmt: skip
    return Changed(workspace, frozenset([id]))


async def get_workspace(db: Connection, id: UUID, *, reach: UUID | None) -> Workspace:
    workspace = await store.get_workspace(db, id, reach=reach)
    if workspace is None:
        raise no_such("workspace")
    return workspace


async def change_workspace(
    db: Connection,
    id: UUID,
    *,
    reach: UUID | None,
    name: str | None = None,
    key_policy: KeyPolicy | None = None,
    time_zone: str | None = None,
    status: Status | None = None,
    client_leaves: ClientLeaves | None = None,
) -> Changed[Workspace]:
    await get_workspace(db, id, reach=reach)
    if time_zone is not None:
        await _require_zone(db, time_zone)
    workspace = await store.update_workspace(
        db, id, name=name, key_policy=key_policy, time_zone=time_zone, status=status, client_leaves=client_leaves
    )
    if workspace is None:
        raise no_such("workspace")
    return Changed(workspace, frozenset([id]))


async def create_user(db: Connection, *, id: UUID, email: str, name: str, reach: UUID | None) -> Changed[User]:
    """Created from inside a workspace, the user becomes a `member` of it: elsewhere nobody could see them."""
    user = await store.insert_user(db, id=id, email=email, name=name)
    if user is None:
        raise _email_taken()
    if reach is None:
        return Changed(user, NOWHERE)
    await store.insert_member(db, workspace_id=reach, user_id=id, role="member")
    return Changed(user, frozenset([reach]))


async def get_user(db: Connection, id: UUID, *, reach: UUID | None) -> User:
    user = await store.get_user(db, id, reach=reach)
    if user is None:
        raise no_such("user")
    return user


async def change_user(
    db: Connection, id: UUID, *, email: str | None = None, name: str | None = None, status: Status | None = None
) -> Changed[User]:
    """Platform only: a user may belong to several workspaces, all of which see the change."""
    try:
        user = await store.update_user(db, id, email=email, name=name, status=status)
    except store.EmailTaken as error:
        raise _email_taken() from error
    if user is None:
        raise no_such("user")
    return Changed(user, NOWHERE if status is None else await store.workspaces_of_user(db, id))


async def add_member(
    db: Connection, *, workspace_id: UUID, user_id: UUID, role: WorkspaceRole, reach: UUID | None, guard: Guard
) -> Changed[Member]:
    """From inside a workspace only users it knows already; the platform may add anybody to any."""
    await get_workspace(db, workspace_id, reach=reach)
    await get_user(db, user_id, reach=reach)
    guard(role)
    if not await store.insert_member(db, workspace_id=workspace_id, user_id=user_id, role=role):
        raise Refused(
            Reason.CONFLICT, "This user is a member already. Change the role with PATCH on the member.", param="user_id"
        )
    return Changed(await get_member(db, workspace_id=workspace_id, user_id=user_id), frozenset([workspace_id]))


async def get_member(db: Connection, *, workspace_id: UUID, user_id: UUID) -> Member:
    member = await store.get_member(db, workspace_id=workspace_id, user_id=user_id)
    if member is None:
        raise no_such("member")
    return member


async def require_member(db: Connection, *, workspace_id: UUID, user_id: UUID) -> None:
    """The user of a thing that is made in a workspace; locked, so that they do not leave meanwhile."""
    if await store.lock_member(db, workspace_id=workspace_id, user_id=user_id) is None:
        raise Refused(
            Reason.BAD_VALUE,
            "No member of this workspace has this id. Add the user to the workspace first.",
            param="user_id",
        )


async def change_member(
    db: Connection, *, workspace_id: UUID, user_id: UUID, role: WorkspaceRole, guard: Guard
) -> Changed[Member]:
    await _lock_member(db, workspace_id, user_id, guard)
    guard(role)
    await store.update_member(db, workspace_id=workspace_id, user_id=user_id, role=role)
    return Changed(await get_member(db, workspace_id=workspace_id, user_id=user_id), frozenset([workspace_id]))


async def remove_member(db: Connection, *, workspace_id: UUID, user_id: UUID, guard: Guard) -> Changed[UUID]:
    """The user's keys in the workspace stop working with the next request; they work again if the user comes back."""
    await _lock_member(db, workspace_id, user_id, guard)
    await store.delete_member(db, workspace_id=workspace_id, user_id=user_id)
    return Changed(user_id, frozenset([workspace_id]))


async def _lock_member(db: Connection, workspace_id: UUID, user_id: UUID, guard: Guard) -> None:
    held = await store.lock_member(db, workspace_id=workspace_id, user_id=user_id)
    if held is None:
        raise no_such("member")
    guard(held)


async def _require_zone(db: Connection, time_zone: str) -> None:
    if time_zone != "UTC" and not await store.zone_is_known(db, time_zone):
        raise Refused(
            Reason.BAD_VALUE,
            "Unknown time zone. Use a name of the IANA database, such as Europe/Berlin.",
            param="time_zone",
        )


def _email_taken() -> Refused:
    return Refused(
        Reason.CONFLICT,
        "A user with this email exists already. A platform admin can add them to a workspace by their user id.",
        param="email",
    )
