"""The one way in which anything is changed by management: one transaction, then the epochs are raised in Redis."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import orjson

from proxy.audit import store
from proxy.audit.actor import Actor
from proxy.audit.roles import reach, require
from proxy.epochs import store as epochs
from proxy.storage.postgres import Connection, Pool
from proxy.wire.ids import uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

# Stripe keeps its records at least this long (docs.stripe.com/api/idempotent_requests); older ones may be pruned.
RECORD_LIVES = timedelta(hours=24)
PUBLISH_S = 2.0
ACQUIRE_S = 5.0


class Clock(Protocol):
    def now_ms(self) -> int: ...
    def now(self) -> datetime: ...


class AnswerSealer(Protocol):
    """Filled by the vault. An answer may hold a key that is shown once."""

    def seal_answer(self, body: bytes, *, actor_id: UUID, key: str) -> bytes: ...
    def open_answer(self, sealed: bytes, *, actor_id: UUID, key: str) -> bytes: ...


# Raises epochs in Redis. It may fail: the reconciler repeats it within a second.
Publish = Callable[[Mapping[UUID, int]], Awaitable[object]]


class Idempotency(NamedTuple):
    """`request_hash` tells a repetition from another request under the same key. Keyed: bodies may hold secrets."""

    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What `work` did. `scopes`: whose epochs must rise. `detail` is read by auditors: never a secret in it."""

    body: bytes
    workspace_id: UUID | None
    resource_id: UUID | None
    status: int = 200
    scopes: frozenset[UUID] = frozenset()
    detail: Mapping[str, object] = field(default_factory=dict)


class Answer(NamedTuple):
    status: int
    body: bytes
    replayed: bool


class _Committed(NamedTuple):
    answer: Answer
    epochs: dict[UUID, int]


class ManagementWriter:
    def __init__(self, pool: Pool, sealer: AnswerSealer, publish: Publish, clock: Clock) -> None:
        self._pool = pool
        self._sealer = sealer
        self._publish = publish
        self._clock = clock

    async def change(
        self,
        actor: Actor,
        *,
        verb: str,
        resource: str,
        workspace_id: UUID | None,
        idempotency: Idempotency | None,
        work: Callable[[Connection], Awaitable[Change]],
    ) -> Answer:
        """`workspace_id`: where the change happens, as far as it is known before `work` looks.

        Raises `Refused`; then nothing was changed and nothing recorded. An error that says the database is away leaves
        open whether the change was made: the same idempotency key tells.
        """
        require(actor, verb, resource)
        reach(actor, workspace_id)
        async with self._pool.acquire(timeout=ACQUIRE_S) as db, db.transaction():
            committed = await self._transact(db, actor, verb, resource, idempotency, work)
        if committed.epochs:
            await self._raise_epochs(committed.epochs)
        return committed.answer

    async def _transact(
        self,
        db: Connection,
        actor: Actor,
        verb: str,
        resource: str,
        idempotency: Idempotency | None,
        work: Callable[[Connection], Awaitable[Change]],
    ) -> _Committed:
        if idempotency is not None:
            replay = await self._replay(db, actor, idempotency)
            if replay is not None:
                return _Committed(replay, {})
        change = await work(db)
        _require_inside(actor, change)
        now = self._clock.now()
        await store.insert_entry(
            db,
            store.Entry(
                id=uuid7(self._clock.now_ms()), at=now, actor_kind=actor.kind, actor_id=actor.id,
                workspace_id=change.workspace_id, verb=verb, resource=resource, resource_id=change.resource_id,
                detail=orjson.dumps(change.detail, default=str).decode(),
            ),
        )  # fmt: skip
        if idempotency is not None:
            await store.save_record(
                db,
                actor_id=actor.id,
                key=idempotency.key,
                request_hash=idempotency.request_hash,
                status=change.status,
                sealed_body=self._sealer.seal_answer(change.body, actor_id=actor.id, key=idempotency.key),
                at=now,
            )
        # Last, so that the row that all changes of a workspace wait for is held as briefly as can be; in order of their
        # ids, so that two changes of the same workspaces cannot wait for each other.
        raised = {scope: await epochs.bump(db, scope) for scope in sorted(change.scopes)}
        return _Committed(Answer(change.status, change.body, replayed=False), raised)

    async def _replay(self, db: Connection, actor: Actor, idempotency: Idempotency) -> Answer | None:
        await store.lock_key(db, _lock_number(actor.id, idempotency.key))
        record = await store.find_record(
            db, actor_id=actor.id, key=idempotency.key, not_before=self._clock.now() - RECORD_LIVES
        )
        if record is None:
            return None
        if record.request_hash != idempotency.request_hash:
            raise Refused(
                Reason.CONFLICT,
                "This Idempotency-Key was used for another request. Use a new one for every different request.",
                should_retry=False,
            )
        body = self._sealer.open_answer(record.sealed_body, actor_id=actor.id, key=idempotency.key)
        return Answer(record.status, body, replayed=True)

    async def _raise_epochs(self, raised: Mapping[UUID, int]) -> None:
        """Whatever happens here, the change is made and its answer, perhaps with a key shown once, must go out."""
        publishing = asyncio.ensure_future(self._publish(raised))
        await asyncio.wait([publishing], timeout=PUBLISH_S)
        if not publishing.done():
            publishing.cancel()
            await asyncio.wait([publishing], timeout=1)
            log.warning("epochs are committed, Redis does not take them; the reconciler repeats it")
        elif (error := publishing.exception()) is not None:
            log.warning("epochs are committed but not yet in Redis; the reconciler repeats it: %r", error)


def _require_inside(actor: Actor, change: Change) -> None:
    """The last fence between tenants: a bug in a handler rolls back instead of writing into another workspace."""
    own = actor.workspace_id
    if own is None:
        return
    if change.workspace_id != own or not change.scopes <= {own}:
        raise RuntimeError("a change by a workspace's key left its workspace and was rolled back")


def _lock_number(actor_id: UUID, key: str) -> int:
    digest = hashlib.sha256(b"idempotency" + actor_id.bytes + key.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
