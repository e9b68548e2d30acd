"""The first start of a deployment, through the write path like every other change."""

from __future__ import annotations

from collections.abc import Callable

from proxy.api.context import Clock
from proxy.audit.actor import SYSTEM
from proxy.audit.write import Change, ManagementWriter
from proxy.identity.first_start import NOTHING_MADE, FirstStart
from proxy.identity.first_start import first_start as make
from proxy.identity.hashing import KeyHasher
from proxy.storage.postgres import Connection
from proxy.wire.ids import uuid7


class _NothingToDo(Exception):
    """Leaves the write path without an audit entry."""


async def first_start(
    writer: ManagementWriter,
    hasher: KeyHasher,
    clock: Clock,
    *,
    shards: int = 1,
    admin_key: str | None = None,
    before_commit: Callable[[FirstStart], None] = lambda made: None,
) -> FirstStart:
    """Workspace `default`, its owner, a virtual key and the first management key, exactly once.

    `admin_key`: the literal of SYNAPSCALE_ADMIN_KEY, which stays in force at every start. What was made is returned
    with its secrets, to be shown now or never; `before_commit` can keep them, so that a process that dies in between
    has not lost them. Raises `ValueError` where the literal cannot be a key.
    """
    made = NOTHING_MADE

    async def work(db: Connection) -> Change:
        nonlocal made
        done = await make(db, hasher, lambda: uuid7(clock.now_ms()), shards=shards, admin_key=admin_key)
        if not done.changed:
            raise _NothingToDo
        before_commit(done)
        made = done
        return Change(
            body=b"", workspace_id=done.workspace_id, resource_id=done.workspace_id, scopes=done.scopes,
            detail={"admin_key": "given" if admin_key is not None else "minted"},
        )  # fmt: skip

    try:
        await writer.change(
            SYSTEM, verb="create", resource="deployment", workspace_id=None, idempotency=None, work=work
        )
    except _NothingToDo:
        return NOTHING_MADE
    return made
