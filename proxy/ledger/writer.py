"""One shard's ledger writer: a batch from the stream into the tables, then acknowledged.

A batch is one transaction that opens with the shard's lock, reads the stream under it, and writes. The lock is held
while reading because all writers are one consumer (stream.py). Commit, then XACK: a death between the two repeats the
batch, and a repeated batch changes nothing.

A batch that fails because of a value is rolled back and written piecemeal: halved until the entry at fault stands alone
and becomes a dead letter. Each piece is a transaction of its own under the same lock; if another writer takes the shard
in between, the rest is left to it (it finds the entries pending). A server that is away or refuses is never an entry's
fault: `StoreAway` is raised, everything stays pending, and what was acknowledged is read again afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from proxy.ledger import store
from proxy.ledger.entry import DateBounds, Entry, Sifted, bury, moment, sift, stream_ms
from proxy.ledger.metrics import LedgerMetrics
from proxy.ledger.partitions import store as partitions
from proxy.ledger.stream import Reading, StreamAway, UsageStream
from proxy.storage.away import StoreAway
from proxy.storage.postgres import Connection, Pool

_log = logging.getLogger(__name__)
_CONFLICT_TRIES = 3


@dataclass(frozen=True, slots=True)
class Wrote:
    """Entries that were new to this writer and are done. `drained`: nothing is left to do now."""

    entries: int
    drained: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Another writer has the shard: come back later."""


Step = Wrote | Busy


class LedgerWriter:
    def __init__(
        self,
        pool: Pool,
        stream: UsageStream,
        metrics: LedgerMetrics,
        *,
        shard: int,
        bounds: DateBounds | None = None,
        as_of_every_s: float = 5.0,
    ) -> None:
        self._pool = pool
        self._stream = stream
        self._metrics = metrics
        self._shard = shard
        self._bounds = bounds or DateBounds()
        self._as_of_every_ms = round(as_of_every_s * 1000)
        self._as_of_ms = 0  # written by this process
        self._server_started: datetime | None = None
        self._days: set[date] = set()  # known to have a partition

    async def step(self) -> Step:
        """Read and write one batch, and one page of what is read again. Raises `StoreAway`; then come back later."""
        try:
            return await self._retried()
        except StreamAway:
            self._metrics.failed("redis_away")
            raise
        except StoreAway:
            self._metrics.failed("postgres_away")
            self._stream.reread()
            raise

    async def _retried(self) -> Step:
        for _ in range(_CONFLICT_TRIES):
            try:
                async with store.connection(self._pool) as conn:
                    return await self._step(conn)
            except store.Conflict as error:
                self._metrics.failed("conflict")
                _log.warning("shard %s: %s; trying again", self._shard, error)
        raise StoreAway("Postgres: every try of a batch met a conflict")

    async def _step(self, conn: Connection) -> Step:
        reading = await self._write_new(conn)
        if reading is None:
            return Busy()
        again = self._stream.reread_ms is not None
        if again:
            page = await self._stream.reread_page()
            if page and not await self._write_again(conn, page, reading.time_ms):
                return Busy()
            self._stream.reread_done(page)
        await self._stream.trim()
        self._report(reading)
        return Wrote(len(reading.entries), drained=reading.drained and not again)

    async def _write_new(self, conn: Connection) -> Reading | None:
        """None: the shard is another writer's."""
        reading: Reading | None = None
        try:
            async with store.transaction(conn):
                if not await self._open(conn):
                    return None
                reading = await self._stream.read()
                sifted, applied = await self._apply(
                    conn, reading.entries, reading.time_ms, reading.time_ms if reading.drained else None
                )
        except (store.Poison, store.NoPartition) as error:
            if reading is None:
                raise StoreAway(f"Postgres: {error}") from error
            return reading if await self._piecemeal(conn, reading.entries, reading.time_ms, error) else None
        await self._done(sifted, applied)
        return reading

    async def _write_again(self, conn: Connection, page: Sequence[Entry], now_ms: int) -> bool:
        """Apply once more what was acknowledged. False: the shard is another writer's."""
        try:
            async with store.transaction(conn):
                if not await self._open(conn):
                    return False
                known = await store.buried(conn, self._shard, [entry.id for entry in page])
                alive = [entry for entry in page if entry.id not in known]
                _, applied = await self._apply(conn, alive, now_ms, None)
        except (store.Poison, store.NoPartition) as error:
            return await self._piecemeal(conn, page, now_ms, error)
        if applied.inserted or applied.changed:
            _log.warning("shard %s: %s acknowledged entries were not in the tables", self._shard, applied.inserted)
            self._metrics.written(inserted=applied.inserted, changed=applied.changed, repeated=0)
        return True

    async def _piecemeal(self, conn: Connection, entries: Sequence[Entry], now_ms: int, cause: Exception) -> bool:
        """In halves until every entry is a row or a dead letter. False: another writer has the shard."""
        self._metrics.failed("no_partition" if isinstance(cause, store.NoPartition) else "poison")
        wanted = sift(entries, now_ms=now_ms, bounds=self._bounds).days
        self._days = await partitions.ensure(conn, wanted) | (self._days - wanted)
        closed = wanted - self._days
        parts: list[Sequence[Entry]] = [entries]
        while parts:
            part = parts.pop()
            try:
                async with store.transaction(conn):
                    if not await self._open(conn):
                        return False
                    sifted, applied = await self._apply(conn, part, now_ms, None, closed)
            except store.NoPartition as error:
                self._days -= wanted  # dropped by somebody this very moment
                raise StoreAway(f"Postgres: {error}") from error
            except store.Poison as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]  # the older half next
                    continue
                sifted, applied = await self._bury(conn, part[0], str(error)), store.Applied(0, 0)
            await self._done(sifted, applied)
        return True

    async def _bury(self, conn: Connection, entry: Entry, error: str) -> Sifted:
        letter = bury(entry, error)
        async with store.transaction(conn):
            await store.bury(conn, self._shard, [letter])
        return Sifted(dead=[letter], ids=[entry.id])

    async def _open(self, conn: Connection) -> bool:
        started = await store.open_batch(conn, self._shard)
        if started is not None and started != self._server_started:
            # Restarted, or another server: a replica may have been promoted without the last commits.
            self._server_started = started
            self._days.clear()
            self._stream.reread()
        return started is not None

    async def _apply(
        self,
        conn: Connection,
        entries: Sequence[Entry],
        now_ms: int,
        drained_ms: int | None,
        closed: set[date] | frozenset[date] = frozenset(),
    ) -> tuple[Sifted, store.Applied]:
        """Inside a transaction that holds the lock. `drained_ms`: when nothing was left behind these entries."""
        sifted = sift(entries, now_ms=now_ms, bounds=self._bounds, closed_days=closed)
        if not sifted.days <= self._days:
            self._days |= await partitions.existing(conn)
            if not sifted.days <= self._days:
                raise store.NoPartition(f"{sorted(sifted.days - self._days)}")
        applied = await store.apply(conn, sifted.rows, now_ms=now_ms)
        await store.bury(conn, self._shard, sifted.dead)
        if drained_ms is None and not sifted.ids:
            return sifted, applied
        as_of_ms = self._as_of(sifted, drained_ms)
        if sifted.ids or as_of_ms - self._as_of_ms >= self._as_of_every_ms:
            last = sifted.ids[-1] if sifted.ids else b"0-0"
            await store.advance(conn, self._shard, last, moment(as_of_ms))
            self._as_of_ms = as_of_ms
        return sifted, applied

    def _as_of(self, sifted: Sifted, drained_ms: int | None) -> int:
        """How far the ledger is: it does not hold what it leaves pending, and perhaps not what it reads again."""
        reached_ms = stream_ms(sifted.ids[-1]) if drained_ms is None else drained_ms
        left = [stream_ms(entry_id) for entry_id in sifted.unknown]
        limits = (reached_ms, *left, self._stream.oldest_kept_ms, self._stream.reread_ms)
        return min(ms for ms in limits if ms is not None)

    async def _done(self, sifted: Sifted, applied: store.Applied) -> None:
        """Committed: from here on a death repeats the batch, which changes nothing."""
        await self._acknowledge(sifted.ids)
        self._stream.keep(sifted.unknown)
        repeated = len(sifted.ids) - len(sifted.dead) - applied.inserted - applied.changed
        self._metrics.written(inserted=applied.inserted, changed=applied.changed, repeated=repeated)
        if sifted.dead:
            self._metrics.buried(len(sifted.dead))
            for letter in sifted.dead:
                entry_id = letter.entry_id.decode()
                _log.error("shard %s: entry %s is a dead letter: %s", self._shard, entry_id, letter.error)
        if sifted.unknown:
            _log.error("shard %s: %s entries of an unknown version stay pending", self._shard, len(sifted.unknown))

    async def _acknowledge(self, ids: Sequence[bytes]) -> None:
        await self._stream.ack(ids)

    async def report_backlog(self) -> None:
        """For when batches fail: the lag must be seen to grow."""
        backlog = await self._stream.backlog()
        lag_ms = 0 if backlog.oldest_ms is None else max(backlog.time_ms - backlog.oldest_ms, 0)
        self._metrics.progress(
            self._shard, lag_s=lag_ms / 1000, pending=backlog.pending, unknown=self._stream.kept
        )

    def _report(self, reading: Reading) -> None:
        lag_ms = 0 if reading.drained or not reading.entries else reading.time_ms - stream_ms(reading.entries[-1].id)
        kept_ms = self._stream.oldest_kept_ms
        if kept_ms is not None:
            lag_ms = max(lag_ms, reading.time_ms - kept_ms)
        self._metrics.progress(
            self._shard, lag_s=max(lag_ms, 0) / 1000, pending=self._stream.kept, unknown=self._stream.kept
        )
