"""What gateways and workers do alike with their stores and their ticker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from proxy.holds.keys import usage_key
from proxy.ledger.stream import UsageStream
from proxy.settings.tree import Settings
from proxy.storage.postgres import POSTGRES_AWAY, SCHEMA_MISSING
from proxy.storage.redis import REDIS_AWAY, Redis

log = logging.getLogger(__name__)
START_RETRY_S = 0.5
READY_QUERY_S = 2.0


def streams(settings: Settings, redis: Redis) -> list[UsageStream]:
    """One per shard, for one reader."""
    ledger = settings.ledger
    return [
        UsageStream(redis, usage_key(shard), batch_entries=ledger.batch, retention_s=ledger.retention_s)
        for shard in range(settings.stores.shards)
    ]


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Stores may come up after us: wait, and say for what."""
    told = 0.0
    while True:
        try:
            if await holds():
                return
            why = "not yet"
        except (*POSTGRES_AWAY, *SCHEMA_MISSING, *REDIS_AWAY) as away:
            why = str(away) or type(away).__name__
        if time.monotonic() - told > 10:
            told = time.monotonic()
            log.info("waiting until %s: %s", what, why)
        await asyncio.sleep(START_RETRY_S)


class Ticks:
    """A function as the ticker's watcher."""

    def __init__(self, function: Callable[[float], None]) -> None:
        self.tick = function


def store_urls(settings: Settings) -> tuple[str, str]:
    """Of Postgres and Redis."""
    database_url, redis_url = settings.stores.database_url, settings.stores.redis_url
    if database_url is None or redis_url is None:
        raise ValueError("a single process needs DATABASE_URL and REDIS_URL")
    return database_url.get_secret_value(), redis_url.get_secret_value()
