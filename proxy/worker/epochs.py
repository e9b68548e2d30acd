"""Publishes again what management published: it may have died before it told Redis, or Redis may have been away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from proxy.epochs import store as epochs_store
from proxy.epochs.keys import GLOBAL
from proxy.epochs.publish import publish
from proxy.identity import store as identity_store
from proxy.ledger.store import Conflict, connection
from proxy.ledger.stream import redis_errors
from proxy.storage.away import StoreAway
from proxy.storage.postgres import Pool
from proxy.storage.redis import Redis
from proxy.worker.pace import Backoff, pause

_log = logging.getLogger(__name__)


class EpochsLoop:
    """`recent_s` is more than the longest management transaction, and than this clock may differ from Postgres'."""

    def __init__(
        self,
        pool: Pool,
        redis: Redis,
        *,
        shards: Collection[int],
        every_s: float = 1.0,
        recent_s: float = 120.0,
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._shards = tuple(shards)
        self._every_s = every_s
        self._recent = timedelta(seconds=recent_s)
        self._all = True

    def reconnected(self) -> None:
        """Redis was away, or is another one: whatever was published may be gone."""
        self._all = True

    async def run(self, stop: asyncio.Event) -> None:
        backoff = Backoff(first_s=self._every_s)
        while not stop.is_set():
            try:
                await self.publish()
            except (StoreAway, Conflict) as error:
                _log.info("epochs wait: %s", error)
                self._all = True
                await pause(stop, backoff.next_s())
            else:
                backoff.reset()
                await pause(stop, self._every_s)

    async def publish(self) -> int:
        """All, or the recent ones. How many Redis did not have."""
        every, self._all = self._all, False
        async with connection(self._pool) as conn:
            if every:
                epochs = await epochs_store.all_epochs(conn)
            else:
                epochs = await epochs_store.changed_since(conn, datetime.now(UTC) - self._recent)
            shard_of = await identity_store.shards_of(conn, list(epochs)) if epochs else {}
        with redis_errors():
            return await publish(self._redis, lambda scope: self._shards_of(scope, shard_of), epochs)

    def _shards_of(self, scope_id: UUID, shard_of: Mapping[UUID, int]) -> Iterable[int]:
        if scope_id == GLOBAL:
            return self._shards
        return [shard_of[scope_id]] if scope_id in shard_of else []
