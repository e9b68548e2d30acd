"""An export as pieces of bytes: one snapshot, a batch of rows at a time, the manifest before the end is told."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol

from proxy.exports import store
from proxy.exports.columns import Record
from proxy.exports.manifest import Plan, Tally, manifest, manifest_text
from proxy.exports.registry import FORMATS, KINDS
from proxy.ledger.reading import store as ledger
from proxy.storage.postgres import Pool

ACQUIRE_S = 5.0
_GZIP = 16 + zlib.MAX_WBITS  # a gzip member without name or time: the same rows are the same bytes


class Clock(Protocol):
    def now(self) -> datetime: ...


async def pieces(pool: Pool, clock: Clock, plan: Plan) -> AsyncGenerator[bytes, None]:
    """Close it (`aclosing`) wherever it is left: it holds a connection and a snapshot.

    A piece is made when it is asked for. It ends only after the manifest is committed: whoever is told of the end finds it.
    """
    writer = _Writer(plan)
    async with pool.acquire(timeout=ACQUIRE_S) as db:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            await store.set_bounds(db)
            as_of = await ledger.as_of(db)
            async for records in KINDS[plan.kind].batches(db, plan.filter):
                # In a thread: the loop carries requests, and compressing a batch takes milliseconds.
                piece = await asyncio.to_thread(writer.write, records)
                if piece:
                    yield piece
        last = writer.end()
        if last:
            yield last
        now = clock.now()
        text = manifest_text(manifest(plan, writer.tally, as_of=as_of, finished_at=now))
        await store.finish(db, plan.id, manifest=text, at=now)


class _Writer:
    """Rows in, bytes of the file out."""

    def __init__(self, plan: Plan) -> None:
        kind = KINDS[plan.kind]
        self._columns = kind.columns
        self._format = FORMATS[plan.format]
        self._zip = zlib.compressobj(6, zlib.DEFLATED, _GZIP) if plan.gzip else None
        self._head = self._format.head(self._columns)
        self.tally = Tally(kind.sums)

    def write(self, records: Sequence[Record]) -> bytes:
        self.tally.see_rows(records)
        return self._out(self._format.body(self._columns, records))

    def end(self) -> bytes:
        last = self._out(b"")
        if self._zip is not None:
            rest = self._zip.flush()
            self.tally.see_bytes(rest)
            last += rest
        return last

    def _out(self, plain: bytes) -> bytes:
        plain, self._head = self._head + plain, b""
        data = plain if self._zip is None else self._zip.compress(plain)
        self.tally.see_bytes(data)
        return data
