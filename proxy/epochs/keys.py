"""Where an epoch lives in Redis. The tag `{sN}` puts all keys of a shard into one slot."""

from __future__ import annotations

from uuid import UUID

from proxy.wire.ids import NIL

GLOBAL = NIL  # catalog, prices, credentials


def shard_tag(shard: int) -> str:
    return f"{{s{shard}}}"


def epoch_key(shard: int, scope_id: UUID) -> str:
    return f"{{s{shard}}}:epoch:{'global' if scope_id == GLOBAL else scope_id.hex}"
