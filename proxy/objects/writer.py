"""Ids on their way into Postgres: written together, waited for, and kept where Postgres is away.

Who adds rows waits until they are committed, so an id is written down before its client sees it. While Postgres is away nobody
waits: the answers go on, their ids stay here (bounded) and are written as soon as it is back. A process that is killed in
that time loses them: the one case in which an id that was given out is unknown later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from proxy.objects import store
from proxy.objects.kinds import Account
from proxy.objects.store import Row, Unwritable
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, SCHEMA_MISSING, Pool

log = logging.getLogger(__name__)

WAIT_S = 2.0  # for the first who finds Postgres silent; the others do not wait
ACQUIRE_S = 2.0
BATCH_ROWS = 500
RETRY_S = 0.2
TOUCH_EVERY_S = 30.0
_NOT_NOW = (*POSTGRES_AWAY, *POSTGRES_BUSY, *SCHEMA_MISSING)

Use = tuple[UUID, Account, str, str]


class Full(Exception):
    """As many ids wait as may: Postgres has been away for long."""


class ObjectWriter:
    """`written` hears of every row: whether it is now its workspace's (and not deleted)."""

    def __init__(self, pool: Pool, written: Callable[[Row, bool | None], None], *, most: int) -> None:
        self._pool = pool
        self._written = written
        self._most = most
        self._rows: dict[Use, tuple[Row, asyncio.Future[None]]] = {}
        self._used: dict[Use, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.away = False

    @property
    def has_room(self) -> bool:
        return len(self._rows) < self._most

    @property
    def waiting(self) -> int:
        return len(self._rows)

    def is_waiting(self, row: Row) -> bool:
        return row.key in self._rows

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="provider objects")

    async def stop(self, within_s: float) -> None:
        """Writes what is left, if Postgres lets it."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within_s)
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._rows:
            log.error("%s ids of provider objects could not be written before the end", len(self._rows))

    async def add(self, rows: Sequence[Row]) -> None:
        """Until they are committed, or Postgres is found to be away. Cancelled or not, they are written. Raises `Full`."""
        if len(self._rows) + len(rows) > 2 * self._most:
            raise Full
        waits = []
        for row in rows:
            entry = self._rows.get(row.key)
            if entry is None:
                entry = self._rows[row.key] = (row, asyncio.get_running_loop().create_future())
            waits.append(entry[1])
        self._wake.set()
        if not self.away:
            _, late = await asyncio.wait(waits, timeout=WAIT_S)
            if late:
                self.away = True

    def use(self, use: Use) -> None:
        """Written at leisure; what does not fit is not missed."""
        if len(self._used) < self._most:
            self._used[use] = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        touched_at = loop.time()
        while True:
            await self._write_all()
            if self._used and (self._stopping or loop.time() - touched_at >= TOUCH_EVERY_S):
                touched_at = loop.time()
                await self._touch()
            if self._stopping and not self._rows:
                return
            self._wake.clear()
            if self._rows:
                await asyncio.sleep(RETRY_S)
            elif not self._stopping:
                await self._pause(TOUCH_EVERY_S)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _write_all(self) -> None:
        """Until nothing is left, or Postgres is away."""
        while self._rows:
            batch = self._batch()
            try:
                await self._write(batch)
            except Unwritable:
                for row in batch:
                    if not await self._write_one(row):
                        return
            except _NOT_NOW as error:
                self._is_away(error)
                return
        self.away = False

    async def _write_one(self, row: Row) -> bool:
        try:
            await self._write([row])
        except Unwritable as error:
            log.error("an id of a provider object cannot be written: %s %s: %s", row.kind, row.object_id, error)
            self._done(row, None)
        except _NOT_NOW as error:
            self._is_away(error)
            return False
        return True

    def _batch(self) -> list[Row]:
        """One row for an id of an account, even if two workspaces claim it: the second hears that it came too late."""
        batch: dict[tuple[Account, str, str], Row] = {}
        for row, _ in self._rows.values():
            batch.setdefault((row.account, row.kind, row.object_id), row)
            if len(batch) >= BATCH_ROWS:
                break
        return list(batch.values())

    async def _write(self, batch: list[Row]) -> None:
        async with self._pool.acquire(timeout=ACQUIRE_S) as db:
            found = await store.record(db, batch)
        for row in batch:
            self._done(row, found.get(row.key))

    def _done(self, row: Row, is_there: bool | None) -> None:
        _, waits = self._rows.pop(row.key)
        self._written(row, is_there)
        if not waits.done():
            waits.set_result(None)

    def _is_away(self, error: BaseException) -> None:
        if not self.away:
            log.warning("ids of provider objects wait for Postgres: %s", type(error).__name__)
        self.away = True
        for _, waits in self._rows.values():
            if not waits.done():
                waits.set_result(None)

    async def _touch(self) -> None:
        used, self._used = list(self._used), {}
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as db:
                await store.touch(db, used)
        except _NOT_NOW:
            return
