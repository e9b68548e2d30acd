"""redis-py for what is not the hot path: worker, management, scripts, checks. Requests speak through `holds/`."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from proxy.storage.away import StoreAway

# redis-py's class is not generic at run time; its stubs are where replies have types.
Redis: TypeAlias = redis.asyncio.Redis

# Not reachable, still loading its AOF, demoted, or out of memory or disk (MISCONF): nothing was done, or nobody knows.
REDIS_AWAY: tuple[type[BaseException], ...] = (
    StoreAway,
    exceptions.ConnectionError,  # BusyLoadingError and MaxConnectionsError are ones
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    OSError,
)

# An account that may not use a command.
REDIS_DENIED: tuple[type[BaseException], ...] = (exceptions.NoPermissionError,)


def open_redis(
    url: str, *, max_connections: int = 8, timeout_s: float = 5.0, retries: int = 2, decode_responses: bool = False
) -> Redis:
    """A client that waits for a free connection instead of opening ever more, and connects when first used.

    A retried command may run twice: whoever appends must be safe against that. A blocking read must ask for less than
    `timeout_s`.
    """
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "timeout": timeout_s,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
        "health_check_interval": 0,
        "decode_responses": decode_responses,
    }
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, **options)
    return redis.asyncio.Redis.from_pool(pool)


class Memory(NamedTuple):
    """Bytes. `max` 0: no limit is set."""

    used: int
    max: int


async def memory(redis: Redis) -> Memory | None:
    """None: it is away. Zeros where this account may not ask."""
    try:
        info = await redis.info("memory")
    except REDIS_DENIED:
        return Memory(0, 0)
    except REDIS_AWAY:
        return None
    return Memory(int(info["used_memory"]), int(info["maxmemory"]))
