"""A ledger worker of its own, to be killed. Arguments: database, Redis, and where it kills itself, if it does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from proxy.holds.keys import usage_key
from proxy.ledger.stream import UsageStream
from proxy.ledger.writer import LedgerWriter
from proxy.storage.postgres import open_pool
from proxy.storage.redis import open_redis
from proxy.worker.ledger import LedgerLoop


class Silent:
    def written(self, *, inserted: int, changed: int, repeated: int) -> None: ...
    def buried(self, count: int) -> None: ...
    def failed(self, why: str) -> None: ...
    def progress(self, shard: int, *, lag_s: float, pending: int, unknown: int) -> None: ...


class DiesAfterCommit(LedgerWriter):
    async def _acknowledge(self, ids: Sequence[bytes]) -> None:
        if ids:
            os.kill(os.getpid(), signal.SIGKILL)


class DiesBeforeCommit(LedgerWriter):
    async def _apply(self, *args, **options):  # type: ignore[no-untyped-def]
        done = await super()._apply(*args, **options)
        if done[0].ids:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


WRITERS = {"": LedgerWriter, "after commit": DiesAfterCommit, "before commit": DiesBeforeCommit}


async def main(database_url: str, redis_url: str, dies: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await open_pool(database_url, max_size=2, application_name="ledger child")
    async with open_redis(redis_url) as redis:
        stream = UsageStream(redis, usage_key(0), batch_entries=50)
        writer = WRITERS[dies](pool, stream, Silent(), shard=0)
        await LedgerLoop(writer, stream, shard=0, linger_s=0.01, busy_s=0.05, tick_s=0.5).run(stop)
    await pool.close()


asyncio.run(main(*sys.argv[1:]))
