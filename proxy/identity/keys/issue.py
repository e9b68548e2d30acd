"""What may be done to keys: issue, import, rotate, change, block, delete. In the caller's transaction.

`guard` is asked about the role of every management key that is issued or touched: who may not give a role may not take
it over by rotating somebody's key either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from proxy.identity.hashing import Hasher
from proxy.identity.keys import store
from proxy.identity.people import NOWHERE, Guard, get_workspace, no_such, require_member
from proxy.identity.records import Changed, Issued, ManagementKey, Status, VirtualKey, WorkspaceRole
from proxy.identity.virtual_key import KeyShape, check, last4, literal_problem, mint, mint_management, provider_of
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused


async def issue_virtual(
    db: Connection,
    hasher: Hasher,
    *,
    id: UUID,
    workspace_id: UUID,
    user_id: UUID,
    name: str,
    llms: Sequence[str] | None,
    expires_at: datetime | None,
    literal: str | None,
    now: datetime,
    reach: UUID | None,
) -> Issued[VirtualKey]:
    """`literal`: a key that clients have already, imported instead of a new one."""
    await get_workspace(db, workspace_id, reach=reach)
    require_future(expires_at, now)
    await require_member(db, workspace_id=workspace_id, user_id=user_id)
    secret = mint() if literal is None else require_importable(literal)
    key = await store.insert_virtual(
        db,
        id=id,
        workspace_id=workspace_id,
        user_id=user_id,
        name=name,
        hash=hasher.digest(secret),
        last4=last4(secret),
        imported=literal is not None,
        llms=llms,
        expires_at=expires_at,
    )
    if key is None:
        raise Refused(Reason.CONFLICT, "This key cannot be imported: it is in use already.", param="key")
    return Issued(key, secret, frozenset([workspace_id]))


async def get_virtual(db: Connection, id: UUID, *, reach: UUID | None) -> VirtualKey:
    key = await store.get_virtual(db, id, reach=reach)
    if key is None:
        raise no_such("virtual key")
    return key


async def rotate_virtual(db: Connection, hasher: Hasher, id: UUID, *, reach: UUID | None) -> Issued[VirtualKey]:
    """A new secret under the same id; the old one ends with the next request."""
    await _lock_virtual(db, id, reach)
    secret = mint()
    key = await store.rotate_virtual(db, id, hash=hasher.digest(secret), last4=last4(secret))
    return Issued(key, secret, frozenset([key.workspace_id]))


async def change_virtual(
    db: Connection,
    id: UUID,
    *,
    reach: UUID | None,
    now: datetime,
    name: str | None = None,
    llms: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    status: Status | None = None,
    clear: frozenset[str] = frozenset(),
) -> Changed[VirtualKey]:
    """What is None stays; `clear` names what becomes empty (`llms`: all are allowed; `expires_at`: never)."""
    key = await _lock_virtual(db, id, reach)
    require_future(expires_at, now)
    changed = await store.update_virtual(
        db,
        id,
        name=key.name if name is None else name,
        status=key.status if status is None else status,
        llms=None if "llms" in clear else key.llms if llms is None else llms,
        expires_at=None if "expires_at" in clear else key.expires_at if expires_at is None else expires_at,
    )
    return Changed(changed, frozenset([key.workspace_id]))


async def delete_virtual(db: Connection, id: UUID, *, reach: UUID | None) -> Changed[VirtualKey]:
    key = await _lock_virtual(db, id, reach)
    await store.delete_virtual(db, id)
    return Changed(key, frozenset([key.workspace_id]))


async def issue_management(
    db: Connection,
    hasher: Hasher,
    *,
    id: UUID,
    workspace_id: UUID | None,
    role: WorkspaceRole,
    name: str,
    expires_at: datetime | None,
    now: datetime,
    reach: UUID | None,
    guard: Guard,
) -> Issued[ManagementKey]:
    if workspace_id is not None:
        await get_workspace(db, workspace_id, reach=reach)
    elif role != "admin":
        raise Refused(
            Reason.BAD_VALUE,
            "A key of the platform has the role `admin`. Other roles belong to a workspace: name its `workspace_id`.",
            param="role",
        )
    guard(role)
    require_future(expires_at, now)
    secret = mint_management()
    key = await store.insert_management(
        db,
        id=id,
        workspace_id=workspace_id,
        role=role,
        name=name,
        hash=hasher.digest(secret),
        last4=last4(secret),
        expires_at=expires_at,
    )
    assert key is not None
    return Issued(key, secret, NOWHERE)


async def get_management(db: Connection, id: UUID, *, reach: UUID | None) -> ManagementKey:
    key = await store.get_management(db, id, reach=reach)
    if key is None:
        raise no_such("management key")
    return key


async def rotate_management(
    db: Connection, hasher: Hasher, id: UUID, *, reach: UUID | None, guard: Guard
) -> Issued[ManagementKey]:
    await _lock_management(db, id, reach, guard)
    secret = mint_management()
    return Issued(
        await store.rotate_management(db, id, hash=hasher.digest(secret), last4=last4(secret)), secret, NOWHERE
    )


async def change_management(
    db: Connection,
    id: UUID,
    *,
    reach: UUID | None,
    guard: Guard,
    now: datetime,
    name: str | None = None,
    expires_at: datetime | None = None,
    status: Status | None = None,
    clear: frozenset[str] = frozenset(),
) -> Changed[ManagementKey]:
    """The role is not changed: whoever holds the key would not know. Issue another."""
    key = await _lock_management(db, id, reach, guard)
    require_future(expires_at, now)
    changed = await store.update_management(
        db,
        id,
        name=key.name if name is None else name,
        status=key.status if status is None else status,
        expires_at=None if "expires_at" in clear else key.expires_at if expires_at is None else expires_at,
    )
    return Changed(changed, NOWHERE)


async def delete_management(db: Connection, id: UUID, *, reach: UUID | None, guard: Guard) -> Changed[ManagementKey]:
    key = await _lock_management(db, id, reach, guard)
    await store.delete_management(db, id)
    return Changed(key, NOWHERE)


def require_importable(literal: str) -> str:
    """A literal that cannot be mistaken for another kind of key."""
    problem = literal_problem(literal)
    match check(literal):
        case KeyShape.VIRTUAL_MALFORMED:
            problem = "it begins with sk-syn- and its checksum is wrong: it was copied incompletely"
        case KeyShape.MANAGEMENT | KeyShape.MANAGEMENT_MALFORMED:
            problem = "it is a management key"
        case KeyShape.PROVIDER:
            problem = (
                f"it is a key of {provider_of(literal)}; store it as a user variable, so that the gateway can use it"
            )
    if problem is not None:
        raise Refused(Reason.BAD_VALUE, f"This key cannot be imported: {problem}.", param="key")
    return literal


def require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise Refused(Reason.BAD_VALUE, "`expires_at` is in the past.", param="expires_at")


async def _lock_virtual(db: Connection, id: UUID, reach: UUID | None) -> VirtualKey:
    key = await store.lock_virtual(db, id, reach=reach)
    if key is None:
        raise no_such("virtual key")
    return key


async def _lock_management(db: Connection, id: UUID, reach: UUID | None, guard: Guard) -> ManagementKey:
    key = await store.lock_management(db, id, reach=reach)
    if key is None:
        raise no_such("management key")
    # A key of the platform is out of reach for every workspace; the roles inside one are ranked.
    guard(key.role)
    return key
