"""Epochs in both stores, told and lifted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from uuid import UUID

from proxy.app.stores import READY_QUERY_S
from proxy.epochs import store as epochs_store
from proxy.epochs.publish import publish
from proxy.identity import store as identity_store
from proxy.storage.away import StoreAway
from proxy.storage.postgres import POSTGRES_AWAY, Pool
from proxy.storage.redis import REDIS_AWAY, Redis
from proxy.wire.ids import NIL

log = logging.getLogger(__name__)
SHARDS_S = 0.5


class EpochKeeper:
    """Epochs in both stores: told to Redis, each in the shards that it concerns; lifted in Postgres."""

    def __init__(self, pool: Pool, redis: Redis, shards: int) -> None:
        self._pool = pool
        self._redis = redis
        self._shards = range(shards)

    async def lift(self, at_least: Mapping[UUID, int]) -> None:
        async with self._pool.acquire(timeout=READY_QUERY_S) as conn:
            await epochs_store.lift(conn, at_least)

    async def publish(self, raised: Mapping[UUID, int]) -> None:
        shard_of = await self._shard_of([scope for scope in raised if scope != NIL])

        def shards(scope: UUID) -> Iterable[int]:
            return [shard_of[scope]] if scope in shard_of else self._shards

        try:
            await publish(self._redis, shards, raised)
        except REDIS_AWAY as away:
            raise StoreAway(f"epochs are not told: {away}") from away

    async def _shard_of(self, workspaces: list[UUID]) -> dict[UUID, int]:
        """Empty: not needed, or Postgres went away after the commit. A block must be told all the same: to every shard."""
        if not workspaces or len(self._shards) == 1:
            return {}
        try:
            async with self._pool.acquire(timeout=SHARDS_S) as conn:
                return dict(await identity_store.shards_of(conn, workspaces))
        except POSTGRES_AWAY:
            return {}
