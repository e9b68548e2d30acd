"""Virtual key → `Principal`: from the cache on the hot path, else from Postgres; a refusal, never a guess.

An entry is as new as the workspace epoch inside it; whoever compares that epoch (`admit`) and finds it old calls
`drop_workspace` and resolves again. Entries are found by the whole HMAC of the token, never by a part of it
(CVE-2026-35030 was a cache over the first 20 characters).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from proxy.epochs import store as epochs
from proxy.identity.hashing import Hasher
from proxy.identity.keys import store
from proxy.identity.keys.store import Caller
from proxy.identity.plan import Plan
from proxy.identity.plans import store as plans
from proxy.identity.principal import OwnCredential, Principal
from proxy.identity.virtual_key import KeyShape, check, provider_of
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, Connection, Pool
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)
UNKNOWN_FOR_MS = 1000
ACQUIRE_S = 5.0
LOAD_S = 15.0


class Clock(Protocol):
    def now_ms(self) -> int: ...
    def now(self) -> datetime: ...


class SealedVariable(Protocol):
    """A user variable as the vault's store returns it."""

    @property
    def id(self) -> UUID: ...
    @property
    def scope(self) -> Literal["user", "workspace"]: ...
    @property
    def provider(self) -> str: ...
    @property
    def sealed(self) -> bytes: ...
    @property
    def expires_at(self) -> datetime | None: ...


class Variables(Protocol):
    """The vault's side: sealed variables that a user of a workspace may use."""

    async def __call__(self, db: Connection, *, workspace_id: UUID, user_id: UUID) -> Sequence[SealedVariable]: ...


class Refusal(NamedTuple):
    reason: Reason
    message: str


class _Entry(NamedTuple):
    principal: Principal
    expires_ms: int | None


class Resolver:
    """`max_keys` bounds the entries kept; the least recently used one goes first."""

    def __init__(
        self,
        pool: Pool,
        hasher: Hasher,
        clock: Clock,
        variables: Variables,
        *,
        max_keys: int = 100_000,
        max_unknown: int = 10_000,
    ) -> None:
        self._pool = pool
        self._hasher = hasher
        self._clock = clock
        self._variables = variables
        self._max_keys = max_keys
        self._max_unknown = max_unknown
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._of_workspace: dict[UUID, set[bytes]] = {}
        self._unknown: OrderedDict[bytes, int] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[Principal | Refusal]] = {}
        self._any_imported = False
        self._any_imported_until_ms = 0

    def peek(self, token: str) -> Principal | None:
        """No I/O. None where `resolve` has to be asked."""
        return self.peek_digest(self._hasher.digest(token))

    def digest(self, token: str) -> bytes:
        """For `peek_digest`."""
        return self._hasher.digest(token)

    def peek_digest(self, digest: bytes) -> Principal | None:
        """`peek` for who asks often for the same token: the hot path."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry.expires_ms is not None and entry.expires_ms <= self._clock.now_ms():
            return None
        self._entries.move_to_end(digest)
        return entry.principal

    async def resolve(self, token: str) -> Principal:
        """Raises `Refused`. Callers with the same token share one lookup."""
        principal = self.peek(token)
        if principal is not None:
            return principal
        shape = check(token)
        _refuse_by_shape(token, shape)
        digest = self._hasher.digest(token)
        known_unknown_until_ms = self._unknown.get(digest)
        if known_unknown_until_ms is not None and self._clock.now_ms() < known_unknown_until_ms:
            raise _as_refused(_unknown(token, shape))
        flight = self._flights.get(digest)
        if flight is None:
            flight = asyncio.create_task(self._fly(digest, token, shape), name="resolve a virtual key")
            self._flights[digest] = flight
        # A caller who leaves must not cancel the lookup of the others.
        found = await asyncio.shield(flight)
        if isinstance(found, Refusal):
            raise _as_refused(found)
        return found

    async def resolve_now(self, token: str) -> Principal:
        """Past every cache: for surfaces that ask Postgres anyway."""
        shape = check(token)
        _refuse_by_shape(token, shape)
        found = await self._load(self._hasher.digest(token), token, shape)
        if isinstance(found, Refusal):
            raise _as_refused(found)
        return found

    def drop_workspace(self, workspace_id: UUID) -> None:
        """Its epoch has risen: what is cached, and what is being read, may be older."""
        for digest in self._of_workspace.pop(workspace_id, ()):
            self._entries.pop(digest, None)
        # Whose lookup it is is known only at its end: those under way answer their callers and are not kept.
        self._flights.clear()

    async def _fly(self, digest: bytes, token: str, shape: KeyShape) -> Principal | Refusal:
        me = asyncio.current_task()
        try:
            found = await self._load(digest, token, shape)
            if self._flights.get(digest) is me:
                self._keep(digest, found)
            return found
        finally:
            if self._flights.get(digest) is me:
                del self._flights[digest]

    def _keep(self, digest: bytes, found: Principal | Refusal) -> None:
        if isinstance(found, Principal):
            expires = found.expires_at
            self._entries[digest] = _Entry(found, None if expires is None else int(expires.timestamp() * 1000))
            self._of_workspace.setdefault(found.workspace_id, set()).add(digest)
            if len(self._entries) > self._max_keys:
                self._evict()
        elif found.reason in (Reason.KEY_UNKNOWN, Reason.KEY_OF_PROVIDER):
            # A known key that is refused (blocked, expired) is not kept: it works again with the next request.
            self._unknown[digest] = self._clock.now_ms() + UNKNOWN_FOR_MS
            self._unknown.move_to_end(digest)
            if len(self._unknown) > self._max_unknown:
                self._unknown.popitem(last=False)

    def _evict(self) -> None:
        digest, entry = self._entries.popitem(last=False)
        workspace_id = entry.principal.workspace_id
        others = self._of_workspace.get(workspace_id)
        if others is not None:
            others.discard(digest)
            if not others:
                del self._of_workspace[workspace_id]

    async def _load(self, digest: bytes, token: str, shape: KeyShape) -> Principal | Refusal:
        try:
            async with asyncio.timeout(LOAD_S), self._pool.acquire(timeout=ACQUIRE_S) as db:
                if shape is not KeyShape.VIRTUAL and not await self._has_imported(db):
                    return _unknown(token, shape)
                # One snapshot: the epoch is not newer than the state beside it.
                async with db.transaction(isolation="repeatable_read", readonly=True):
                    caller = await store.caller(db, digest)
                    if caller is None:
                        return _unknown(token, shape)
                    refusal = self._judge(caller)
                    if refusal is not None:
                        return refusal
                    epoch = (await epochs.read(db, [caller.workspace_id])).get(caller.workspace_id, 0)
                    plan = await plans.of_caller(db, caller.workspace_id)
                    variables = await self._variables(db, workspace_id=caller.workspace_id, user_id=caller.user_id)
        except (*POSTGRES_AWAY, *POSTGRES_BUSY) as error:
            log.warning("a virtual key could not be looked up: %s", type(error).__name__)
            return Refusal(
                Reason.STORE_AWAY, "The gateway cannot look up this key now: its database is away. Try again shortly."
            )
        return _principal(caller, epoch, plan, variables)

    async def _has_imported(self, db: Connection) -> bool:
        now_ms = self._clock.now_ms()
        if now_ms >= self._any_imported_until_ms:
            self._any_imported = await store.any_imported(db)
            self._any_imported_until_ms = now_ms + UNKNOWN_FOR_MS
        return self._any_imported

    def _judge(self, caller: Caller) -> Refusal | None:
        if caller.key_status != "active":
            return Refusal(Reason.KEY_BLOCKED, "This key is blocked. Ask an owner or admin of its workspace.")
        if caller.expires_at is not None and caller.expires_at <= self._clock.now():
            return Refusal(
                Reason.KEY_EXPIRED, "This key has expired. Ask an owner or admin of its workspace for a new one."
            )
        if caller.workspace_status != "active":
            return Refusal(Reason.WORKSPACE_BLOCKED, "The workspace of this key is blocked. Ask the platform's admin.")
        if caller.user_status != "active":
            return Refusal(Reason.USER_BLOCKED, "The user of this key is blocked. Ask the platform's admin.")
        if not caller.is_member:
            return Refusal(
                Reason.USER_BLOCKED,
                "The user of this key is no longer a member of its workspace. Ask an owner or admin of the workspace.",
            )
        return None


def _principal(caller: Caller, epoch: int, plan: Plan, variables: Sequence[SealedVariable]) -> Principal:
    return Principal(
        key_id=caller.key_id, key_name=caller.key_name, workspace_id=caller.workspace_id,
        workspace_name=caller.workspace_name, user_id=caller.user_id, shard=caller.shard, workspace_epoch=epoch,
        key_policy=caller.key_policy, llms=None if caller.llms is None else frozenset(caller.llms),
        expires_at=caller.expires_at,
        own_credentials=tuple(
            OwnCredential(each.id, each.scope, each.provider, each.sealed, each.expires_at) for each in variables
        ),
        client_leaves=caller.client_leaves, plan=plan,
    )  # fmt: skip


def _refuse_by_shape(token: str, shape: KeyShape) -> None:
    """What needs no lookup to be refused."""
    match shape:
        case KeyShape.VIRTUAL_MALFORMED:
            raise Refused(
                Reason.KEY_MALFORMED,
                "This is not a whole virtual key: its checksum is wrong. Copy it again: sk-syn- and 46 characters.",
            )
        case KeyShape.MANAGEMENT | KeyShape.MANAGEMENT_MALFORMED:
            raise Refused(
                Reason.KEY_WRONG_KIND,
                "This is a management key (sk-adm-…). It works under /api/v1; here a virtual key (sk-syn-…) is needed.",
            )
        case KeyShape.PROVIDER:
            raise Refused(
                Reason.KEY_OF_PROVIDER,
                f"This looks like a key of {provider_of(token)}. Send a virtual key (sk-syn-…) of this gateway; a "
                "provider's key belongs into a user variable (`synapscale variables set`). If it reached a log on its "
                "way here, revoke it.",
            )


def _unknown(token: str, shape: KeyShape) -> Refusal:
    match shape:
        case KeyShape.VIRTUAL:
            return Refusal(
                Reason.KEY_UNKNOWN, "Unknown key: it was deleted or rotated, or is a key of another gateway."
            )
        case KeyShape.BARE_SK:
            return Refusal(
                Reason.KEY_OF_PROVIDER,
                "Unknown key. It looks like a provider's key (sk-…); send a virtual key (sk-syn-…) of this gateway.",
            )
        case _:
            return Refusal(Reason.KEY_UNKNOWN, "Unknown key. A virtual key of this gateway begins with sk-syn-.")


def _as_refused(refusal: Refusal) -> Refused:
    return Refused(refusal.reason, refusal.message, retry_after_s=1 if refusal.reason is Reason.STORE_AWAY else None)
