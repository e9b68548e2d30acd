"""Raising epochs in Redis, so that the next `admit` of every gateway sees the change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from uuid import UUID

from proxy.epochs.keys import epoch_key
from proxy.storage.redis import Redis

_RAISE = resources.files("proxy.epochs").joinpath("raise.lua").read_text("utf-8")
_KEYS_PER_CALL = 500


async def publish(redis: Redis, shard_of: Callable[[UUID], Iterable[int]], epochs: Mapping[UUID, int]) -> int:
    """Raise, never lower. `shard_of` names the shards of a scope: one for a workspace, all for the global one.

    How many numbers were raised. Redis' own errors pass: the caller decides whether that matters.
    """
    by_shard: defaultdict[int, list[tuple[UUID, int]]] = defaultdict(list)
    for scope_id, epoch in epochs.items():
        for shard in shard_of(scope_id):
            by_shard[shard].append((scope_id, epoch))
    script = redis.register_script(_RAISE)
    raised = 0
    for shard, pairs in by_shard.items():
        for start in range(0, len(pairs), _KEYS_PER_CALL):
            part = pairs[start : start + _KEYS_PER_CALL]
            keys = [epoch_key(shard, scope_id) for scope_id, _ in part]
            raised += int(await script(keys=keys, args=[epoch for _, epoch in part]))
    return raised
