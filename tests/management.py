"""A deployment's management side on a real database: vault, hasher, writer, resolver, and people to try things with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from proxy.audit.write import ManagementWriter
from proxy.epochs import store as epochs
from proxy.identity import people
from proxy.identity.hashing import KeyHasher
from proxy.identity.keys import issue
from proxy.identity.records import ManagementKey, VirtualKey, WorkspaceRole
from proxy.identity.resolve import Resolver
from proxy.storage.postgres import Pool
from proxy.vault import store as vault_store
from proxy.vault.master import MasterKey
from proxy.vault.seal import Vault
from proxy.wire.ids import uuid7

SHARDS = 4


class SetClock:
    """The time of this machine until a test moves it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.now_ms())

    def advance(self, seconds: float) -> None:
        self.ahead_ms += int(seconds * 1000)


class Deployment:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = SetClock()
        master = MasterKey(b"m" * 32)
        self.vault = Vault(master)
        self.hasher = KeyHasher(master.hash_key)
        self.published: list[dict[UUID, int]] = []
        self.writer = ManagementWriter(pool, self.vault, self._publish, self.clock)
        self.resolver = Resolver(pool, self.hasher, self.clock, vault_store.usable)

    async def _publish(self, raised: Mapping[UUID, int]) -> None:
        self.published.append(dict(raised))

    def id(self) -> UUID:
        return uuid7(self.clock.now_ms())

    async def epoch(self, workspace_id: UUID) -> int:
        async with self.pool.acquire() as db:
            return (await epochs.read(db, [workspace_id])).get(workspace_id, 0)

    async def workspace(self, name: str = "acme") -> UUID:
        async with self.pool.acquire() as db, db.transaction():
            done = await people.create_workspace(db, id=self.id(), name=name, shards=SHARDS)
            await epochs.bump(db, done.value.id)
        return done.value.id

    async def member(self, workspace_id: UUID, email: str, role: WorkspaceRole = "member") -> UUID:
        async with self.pool.acquire() as db, db.transaction():
            user = (await people.create_user(db, id=self.id(), email=email, name="", reach=None)).value
            await people.add_member(
                db, workspace_id=workspace_id, user_id=user.id, role=role, reach=None, guard=lambda role: None
            )
        return user.id

    async def key(
        self,
        workspace_id: UUID,
        user_id: UUID,
        *,
        literal: str | None = None,
        llms: list[str] | None = None,
        expires_at: datetime | None = None,
        name: str = "k",
    ) -> tuple[VirtualKey, str]:
        async with self.pool.acquire() as db, db.transaction():
            issued = await issue.issue_virtual(
                db,
                self.hasher,
                id=self.id(),
                workspace_id=workspace_id,
                user_id=user_id,
                name=name,
                llms=llms,
                expires_at=expires_at,
                literal=literal,
                now=self.clock.now(),
                reach=None,
            )
        return issued.value, issued.secret

    async def manager(
        self, workspace_id: UUID | None, role: WorkspaceRole = "admin", *, expires_at: datetime | None = None
    ) -> tuple[ManagementKey, str]:
        async with self.pool.acquire() as db, db.transaction():
            issued = await issue.issue_management(
                db,
                self.hasher,
                id=self.id(),
                workspace_id=workspace_id,
                role=role,
                name="m",
                expires_at=expires_at,
                now=self.clock.now(),
                reach=None,
                guard=lambda role: None,
            )
        return issued.value, issued.secret

    async def variable(self, workspace_id: UUID, user_id: UUID | None, provider: str, value: str) -> UUID:
        id = self.id()
        async with self.pool.acquire() as db:
            await vault_store.insert(
                db,
                id=id,
                workspace_id=workspace_id,
                scope="workspace" if user_id is None else "user",
                user_id=user_id,
                provider=provider,
                last4=value[-4:],
                expires_at=None,
                sealed=self.vault.seal(value, workspace_id=workspace_id, provider=provider, row_id=id),
            )
        return id

    async def run(self, sql: str, *values: object) -> None:
        await self.pool.execute(sql, *values)
