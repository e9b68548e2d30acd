"""Being the writer of shards, as their ledger writers are for a batch: no row of them changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.ledger import store as ledger
from proxy.storage.postgres import Connection


async def become_writer(db: Connection, shards: Iterable[int]) -> None:
    """Until the transaction ends. In their order, so that no two wait for each other."""
    for shard in sorted(shards):
        await ledger.become_writer(db, shard)
