"""One shard's stream of settled attempts, read by a consumer group with one constant consumer.

All writers of a shard are the same consumer, so what one of them read and did not commit is pending for the next one.
That is only safe while at most one of them reads: `read` and `reread_page` are called under the shard's lock
(store.open_batch). What keeps the group whole:

- Own pending entries come first. `XINFO GROUPS` says how many there are; more or fewer than those kept back on purpose
  (unknown version) means that a writer died, or lost the lock, between reading and acknowledging: all are read again.
- `XACK` follows the commit. A writer that dies between the two leaves entries that are in the tables: they come again
  and change nothing.
- `trim` removes what is older than the retention window, never what is pending or undelivered. Ids that were
  acknowledged stay so, and new pending entries have larger ids than those delivered before: no bound is overtaken.
- After Postgres was away, or is another server, the retained entries are read again: a failover to a replica may have
  lost the last commits. Nothing is trimmed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from redis import exceptions

from proxy.ledger.entry import Entry, stream_ms
from proxy.storage.away import StoreAway
from proxy.storage.redis import REDIS_AWAY, Redis

GROUP = "ledger"
CONSUMER = "writer"
_AWAY: tuple[type[BaseException], ...] = (*REDIS_AWAY, exceptions.RedisError)
_FIRST = b"0-0"
_RESCAN_S = 60.0  # kept entries may be swapped for others of the same number: look again now and then
_TRIM_EVERY_S = 1.0  # a trim removes at most 10,000 entries, Redis' own limit for an approximate one


class StreamAway(StoreAway):
    """Redis did not answer: nothing was read or acknowledged for sure."""


class Reading(NamedTuple):
    """`drained`: nothing was left behind these entries at `time_ms`, the Redis server's clock just before."""

    entries: list[Entry]
    time_ms: int
    drained: bool


class Backlog(NamedTuple):
    """`oldest_ms`: when the oldest entry that is not acknowledged was added; None: there is none."""

    pending: int
    oldest_ms: int | None
    time_ms: int


class UsageStream:
    def __init__(self, redis: Redis, key: str, *, batch_entries: int = 1000, retention_s: float = 300.0) -> None:
        self._redis = redis
        self._key = key
        self._batch_entries = batch_entries
        self._retention_ms = round(retention_s * 1000)
        self._kept: set[bytes] = set()  # pending on purpose
        self._last = _FIRST  # the newest entry seen: where `wait` looks beyond
        self._reread: tuple[bytes, bytes] | None = (_FIRST, b"")  # (after, up to; empty: not known yet)
        self._rescan_at = 0.0
        self._trim_at = 0.0

    @property
    def kept(self) -> int:
        return len(self._kept)

    @property
    def oldest_kept_ms(self) -> int | None:
        return min((stream_ms(entry_id) for entry_id in self._kept), default=None)

    @property
    def reread_ms(self) -> int | None:
        """How far the second reading is; None: there is none."""
        return None if self._reread is None else stream_ms(self._reread[0])

    async def wait(self, block_ms: int) -> bool:
        """Until there is an entry beyond those read; False after `block_ms` without one. Takes nothing."""
        with redis_errors():
            return bool(await self._redis.xread({self._key: self._last}, count=1, block=block_ms))

    async def read(self) -> Reading:
        """Own pending entries if there are any, else new ones; at most a batch."""
        with redis_errors():
            time_ms, group = await self._group()
            if group["pending"] != len(self._kept) or (self._kept and time.monotonic() >= self._rescan_at):
                pending = await self._read_pending()
                if pending:
                    return Reading(pending, time_ms, drained=False)
            new = _entries(
                await self._redis.xreadgroup(GROUP, CONSUMER, {self._key: ">"}, count=self._batch_entries)
            )
            # With two writers the other one may have read further.
            self._last = new[-1].id if new else group["last-delivered-id"]
            return Reading(new, time_ms, drained=len(new) < self._batch_entries)

    async def ack(self, ids: Sequence[bytes]) -> None:
        if ids:
            with redis_errors():
                await self._redis.xack(self._key, GROUP, *ids)

    def keep(self, ids: Sequence[bytes]) -> None:
        """Leave these pending and do not read them again before another writer changes their number."""
        self._kept.update(ids)

    def reread(self) -> None:
        """Read everything retained again, a page at a time."""
        self._reread = (_FIRST, b"")

    async def reread_page(self) -> list[Entry]:
        """The next page of acknowledged and pending entries to apply once more; empty when all were."""
        if self._reread is None:
            return []
        with redis_errors():
            after, up_to = self._reread
            if not up_to:
                _, group = await self._group()
                up_to = group["last-delivered-id"]
                self._reread = (after, up_to)
            page: Any = await self._redis.xrange(self._key, b"(" + after, up_to, count=self._batch_entries)
            return [_entry(entry_id, fields) for entry_id, fields in page]

    def reread_done(self, page: Sequence[Entry]) -> None:
        """This page is committed (an empty one: the window is done)."""
        if self._reread is not None:
            self._reread = (page[-1].id, self._reread[1]) if page else None

    async def trim(self) -> int:
        """Drop acknowledged entries older than the retention window; at most once a second."""
        if self._reread is not None or time.monotonic() < self._trim_at:
            return 0
        with redis_errors():
            time_ms, group = await self._group()
            bounds = [b"%d-0" % (time_ms - self._retention_ms), group["last-delivered-id"]]
            if group["pending"]:
                summary = await self._redis.xpending(self._key, GROUP)
                if summary["min"] is not None:
                    bounds.append(summary["min"])
            self._trim_at = time.monotonic() + _TRIM_EVERY_S
            removed: int = await self._redis.xtrim(self._key, minid=min(bounds, key=_order), approximate=True)
            return removed

    async def backlog(self) -> Backlog:
        with redis_errors():
            time_ms, group = await self._group()
            oldest: bytes | None = None
            if group["pending"]:
                oldest = (await self._redis.xpending(self._key, GROUP))["min"]
            if oldest is None:
                later: Any = await self._redis.xrange(self._key, b"(" + group["last-delivered-id"], "+", count=1)
                oldest = later[0][0] if later else None
            return Backlog(group["pending"], None if oldest is None else stream_ms(oldest), time_ms)

    async def length(self) -> int:
        """All entries, those that are in the tables included: they stay for the retention window."""
        with redis_errors():
            entries: int = await self._redis.xlen(self._key)
            return entries

    async def _group(self) -> tuple[int, dict[str, Any]]:
        """The server's time and the group, which is made (from the first entry on) where it is missing: a flushed or
        replaced Redis must not lose what gateways send again."""
        for attempt in (1, 2):
            pipeline: Any = self._redis.pipeline(transaction=False)
            pipeline.time()
            pipeline.xinfo_groups(self._key)
            (seconds, micros), groups = await pipeline.execute(raise_on_error=False)
            if isinstance(groups, exceptions.ResponseError) and "no such key" not in str(groups).lower():
                raise groups
            if isinstance(groups, list):
                for group in groups:
                    if group["name"] in (GROUP, GROUP.encode()):
                        return seconds * 1000 + micros // 1000, group
            if attempt == 1:
                await self._create_group()
        raise StreamAway(f"the group of {self._key} cannot be created")

    async def _create_group(self) -> None:
        self._kept.clear()
        self._last = _FIRST
        try:
            await self._redis.xgroup_create(self._key, GROUP, _FIRST, mkstream=True)
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _read_pending(self) -> list[Entry]:
        """The first page of pending entries that holds one not kept. Without any, the kept ones are known exactly."""
        after, seen = _FIRST, set[bytes]()
        while page := _entries(
            await self._redis.xreadgroup(GROUP, CONSUMER, {self._key: after}, count=self._batch_entries)
        ):
            fresh = [entry for entry in page if entry.id not in self._kept]
            if fresh:
                return fresh
            seen.update(entry.id for entry in page)
            after = page[-1].id
        self._kept = seen
        self._rescan_at = time.monotonic() + _RESCAN_S
        return []


@contextmanager
def redis_errors() -> Iterator[None]:
    """Every error of the line or the server (a full disk too: MISCONF) is one thing to the ledger and the worker."""
    try:
        yield
    except _AWAY as error:
        raise StreamAway(f"Redis: {error!r}") from error


def _entries(reply: Any) -> list[Entry]:
    """Of one stream. RESP2 answers a list of pairs, RESP3 a map of lists."""
    if not reply:
        return []
    streams = [pages[0] for pages in reply.values()] if isinstance(reply, dict) else [found for _, found in reply]
    return [_entry(entry_id, fields) for entry_id, fields in streams[0]]


def _entry(entry_id: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """A pending entry that was deleted has no fields."""
    fields = fields or {}
    return Entry(entry_id, fields.get(b"v"), fields.get(b"e"))


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence or 0)
