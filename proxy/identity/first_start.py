"""What an empty deployment gets: a workspace, its owner, a virtual key, and the first management key.

In the caller's transaction, under a lock: of two that start at once the second finds the first one's rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from proxy.identity import store
from proxy.identity.hashing import Hasher
from proxy.identity.keys import store as keys
from proxy.identity.people import NOWHERE, create_workspace
from proxy.identity.virtual_key import KeyShape, check, last4, literal_problem, mint, mint_management
from proxy.storage.postgres import Connection

# The management key whose secret is SYNAPSCALE_ADMIN_KEY is one row, known by its id, whose hash follows the
# environment: a literal that leaked ends when it is replaced.
ENVIRONMENT_KEY = UUID("00000000-0000-7000-8000-000000000001")


class FirstStart(NamedTuple):
    """Secrets are shown once; None where nothing was made. `management_key` None: it was given, or is there already."""

    changed: bool
    workspace_id: UUID | None
    virtual_key: str | None
    management_key: str | None
    scopes: frozenset[UUID]


NOTHING_MADE = FirstStart(False, None, None, None, NOWHERE)


async def first_start(
    db: Connection, hasher: Hasher, new_id: Callable[[], UUID], *, shards: int, admin_key: str | None
) -> FirstStart:
    """`admin_key`: the literal of the environment. Raises `ValueError` where it cannot be a key."""
    await store.lock_first_start(db)
    given = admin_key is not None and await _follow_environment(db, hasher, admin_key)
    if await store.any_workspace(db):
        return NOTHING_MADE._replace(changed=given)
    workspace_id, user_id = new_id(), new_id()
    await create_workspace(db, id=workspace_id, name="default", shards=shards)
    await store.insert_user(db, id=user_id, email="owner@localhost", name="Owner")
    await store.insert_member(db, workspace_id=workspace_id, user_id=user_id, role="owner")
    virtual_key = mint()
    await keys.insert_virtual(
        db,
        id=new_id(),
        workspace_id=workspace_id,
        user_id=user_id,
        name="first",
        hash=hasher.digest(virtual_key),
        last4=last4(virtual_key),
        imported=False,
        llms=None,
        expires_at=None,
    )
    management_key = None
    if admin_key is None:
        management_key = mint_management()
        await keys.insert_management(
            db,
            id=new_id(),
            workspace_id=None,
            role="admin",
            name="first",
            hash=hasher.digest(management_key),
            last4=last4(management_key),
            expires_at=None,
        )
    return FirstStart(True, workspace_id, virtual_key, management_key, frozenset([workspace_id]))


def admin_key_problem(admin_key: str) -> str | None:
    """Why the literal of the environment cannot be the management key; None where it can."""
    if check(admin_key) in (KeyShape.VIRTUAL, KeyShape.VIRTUAL_MALFORMED):
        return "it begins with sk-syn-, as virtual keys do; management keys begin with sk-adm-"
    return literal_problem(admin_key)


async def _follow_environment(db: Connection, hasher: Hasher, admin_key: str) -> bool:
    """True where a row was written."""
    problem = admin_key_problem(admin_key)
    if problem is not None:
        raise ValueError(f"SYNAPSCALE_ADMIN_KEY cannot be used: {problem}")
    hash = hasher.digest(admin_key)
    if await keys.manager(db, hash) is not None:  # under whatever id, blocked or not
        return False
    if await keys.hash_of_management(db, ENVIRONMENT_KEY) is None:
        await keys.insert_management(
            db,
            id=ENVIRONMENT_KEY,
            workspace_id=None,
            role="admin",
            name="SYNAPSCALE_ADMIN_KEY",
            hash=hash,
            last4=last4(admin_key),
            expires_at=None,
        )
    else:
        await keys.rotate_management(db, ENVIRONMENT_KEY, hash=hash, last4=last4(admin_key))
    return True
