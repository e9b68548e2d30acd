"""Whose a provider's object is: asked before a request goes out, told before an answer comes in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from proxy.objects import store
from proxy.objects.kinds import Account, Minted, is_id
from proxy.objects.memory import Memory
from proxy.objects.owner import Known, Owner, decide
from proxy.objects.references import Reference
from proxy.objects.store import Found, Row
from proxy.objects.writer import Full, ObjectWriter
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, Pool
from proxy.wire.ids import uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

LOOKUP_S = 2.0
USED_EVERY_MS = 3_600_000


class Clock(Protocol):
    def now_ms(self) -> int: ...
    def now(self) -> datetime: ...


class Objects:
    """One per gateway. `remembered`: ids in memory; `waiting_most`: ids that may wait for a Postgres that is away."""

    def __init__(self, pool: Pool, clock: Clock, *, remembered: int = 50_000, waiting_most: int = 20_000) -> None:
        self._pool = pool
        self._clock = clock
        self._memory = Memory(remembered)
        self._writer = ObjectWriter(pool, self._written, most=waiting_most)
        self.taken = 0  # ids that a provider minted although another workspace had them: to be a metric

    def start(self) -> None:
        self._writer.start()

    async def stop(self, within_s: float) -> None:
        await self._writer.stop(within_s)

    def require_room(self) -> None:
        """Before a request goes out whose answer will bring ids. Raises `Refused` where they could not be kept."""
        if not self._writer.has_room:
            raise _away("The provider's answer could not be remembered")

    async def owner_of(self, workspace_id: UUID, references: Sequence[Reference]) -> Owner | None:
        """Where what a request refers to lies. None: it may go anywhere. Without a query where all is remembered.

        Raises `Refused`: 404 for what is not this workspace's, 503 where that cannot be found out.
        """
        if not references:
            return None
        now_ms = self._clock.now_ms()
        found = {reference: self._memory.get(workspace_id, reference, now_ms) for reference in references}
        missing = [reference for reference, known in found.items() if known is None and is_id(reference.id)]
        known = {reference: known for reference, known in found.items() if known is not None}
        if missing:
            known |= await self._load(workspace_id, missing)
        owner = decide(references, lambda reference: known.get(reference, Known()))
        for reference in references:
            if owner is not None and self._memory.used(
                workspace_id, reference.kind, reference.id, now_ms, USED_EVERY_MS
            ):
                for account in owner.accounts:
                    self._writer.use((workspace_id, account, reference.kind, reference.id))
        return owner

    async def owned(self, workspace_id: UUID, account: Account, kind: str, ids: Collection[str]) -> frozenset[str]:
        """Those of `ids` that are this workspace's at this account: for lists that the provider gives of a whole account.
        Raises `Refused` (503).
        """
        now_ms = self._clock.now_ms()
        references = [Reference(kind, id, "") for id in ids if is_id(id)]
        known = {reference: self._memory.get(workspace_id, reference, now_ms) for reference in references}
        missing = [reference for reference, found in known.items() if found is None]
        loaded = await self._load(workspace_id, missing) if missing else {}
        return frozenset(
            reference.id
            for reference, found in known.items()
            if account in (found or loaded.get(reference, Known())).accounts
        )

    async def record(self, workspace_id: UUID, account: Account, minted: Iterable[Minted]) -> None:
        """Before the client sees the ids. Returns when they are committed, or kept because Postgres is away.

        Raises `Refused` (503) where they cannot even be kept; the answer must then not be given.
        """
        now, now_ms = self._clock.now(), self._clock.now_ms()
        rows = []
        for each in minted:
            if not each.stored:
                # The client sends such items back with their content: they need not be asked for.
                self._memory.put(workspace_id, each.kind, each.id, Known(), now_ms, now_ms)
            elif account not in self._memory.accounts(workspace_id, each.kind, each.id):
                rows.append(Row(uuid7(now_ms), workspace_id, account, each.kind, each.id, each.known_until(now)))
        if not rows:
            return
        try:
            await self._writer.add(rows)
        except Full:
            raise _away("The provider's answer cannot be remembered") from None
        # Those that wait are known here already; `written` takes back what turns out to be another's.
        for row in rows:
            if self._writer.is_waiting(row):
                self._memory.add(workspace_id, row.kind, row.object_id, account, now_ms)

    async def forget(self, workspace_id: UUID, account: Account, reference: Reference) -> None:
        """The provider has deleted it. With Postgres away the row stays: the provider then says that it is gone."""
        self._memory.drop(workspace_id, reference.kind, reference.id, account)
        try:
            async with asyncio.timeout(LOOKUP_S), self._pool.acquire(timeout=LOOKUP_S) as db:
                await store.forget(
                    db, workspace_id=workspace_id, account=account, kind=reference.kind, object_id=reference.id
                )
        except (*POSTGRES_AWAY, *POSTGRES_BUSY) as error:
            log.info("a deleted %s stays listed: %s", reference.kind, type(error).__name__)

    async def _load(self, workspace_id: UUID, missing: Sequence[Reference]) -> dict[Reference, Known]:
        try:
            async with asyncio.timeout(LOOKUP_S), self._pool.acquire(timeout=LOOKUP_S) as db:
                rows = await store.find(
                    db, workspace_id=workspace_id, object_ids=list({reference.id for reference in missing})
                )
        except (*POSTGRES_AWAY, *POSTGRES_BUSY) as error:
            if all(reference.inline for reference in missing):
                return {}  # they bring their content: nothing is lost if the provider does not know them
            log.warning("provider objects could not be looked up: %s", type(error).__name__)
            raise _away("What the request refers to cannot be looked up") from None
        by_name: dict[tuple[str, str], list[Found]] = {}
        for row in rows:
            by_name.setdefault((row.kind, row.object_id), []).append(row)
        now_ms = self._clock.now_ms()
        loaded = {}
        for reference in missing:
            found = by_name.get((reference.kind, reference.id), [])
            own = [row for row in found if row.is_own]
            known = Known(tuple(row.account for row in own), len(own) < len(found))
            # A record that overtook this query is the newer truth.
            if self._memory.accounts(workspace_id, reference.kind, reference.id):
                known = self._memory.get(workspace_id, reference, now_ms) or known
            else:
                used_ms = max((int(row.last_used_at.timestamp() * 1000) for row in own), default=now_ms)
                self._memory.put(workspace_id, reference.kind, reference.id, known, now_ms, used_ms)
            loaded[reference] = known
        return loaded

    def _written(self, row: Row, is_there: bool | None) -> None:
        if is_there:
            self._memory.add(row.workspace_id, row.kind, row.object_id, row.account, self._clock.now_ms())
            return
        self._memory.drop(row.workspace_id, row.kind, row.object_id, row.account)
        if is_there is None:
            self.taken += 1
            log.error(
                "%s minted the %s %s again: it belongs to another workspace than %s",
                row.account.provider, row.kind, row.object_id, row.workspace_id,
            )  # fmt: skip


def _away(what: str) -> Refused:
    return Refused(Reason.STORE_AWAY, f"{what} now: the gateway's database is away. Retry shortly.", retry_after_s=1)
