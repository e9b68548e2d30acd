"""Every key of a shard, in one slot by its tag. Epoch keys are named by `epochs`."""

from __future__ import annotations

from uuid import UUID

from proxy.epochs.keys import shard_tag

STREAM_VERSION = 1  # field `v` of an entry
TOMBSTONE_S = 24 * 3600


def gen_key(shard: int) -> str:
    """There only while the shard is seeded; another value means seeded anew."""
    return f"{shard_tag(shard)}:gen"


def holds_key(shard: int) -> str:
    """Hash: attempt → `<lease end, ms>|<event to write if nobody settles>`."""
    return f"{shard_tag(shard)}:holds"


def swept_prefix(shard: int) -> str:
    return f"{shard_tag(shard)}:swept:"


def swept_key(shard: int, attempt_id: UUID) -> str:
    """Tombstone of an attempt that was swept or taken back: it cannot be announced any more."""
    return swept_prefix(shard) + attempt_id.hex


def usage_key(shard: int) -> str:
    """Stream of events. Fields: `v` version, `e` event as JSON, `l` 1 where no hold existed."""
    return f"{shard_tag(shard)}:usage"
