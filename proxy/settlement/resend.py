"""Records of a spool, to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import cast

from proxy.holds.client import Holds
from proxy.holds.together import together
from proxy.settlement.spool_lines import VOID, Record


async def send_again(holds: Holds, records: Iterable[Record]) -> None:
    """In one pipeline, in order; done when Redis has acknowledged all of them. Raises StoreAway."""
    await together(map(partial(_send, holds), records))


def _send(holds: Holds, record: Record) -> asyncio.Future[object]:
    if record.event == VOID:
        return cast("asyncio.Future[object]", holds.void(record.shard, record.attempt_id))
    return cast("asyncio.Future[object]", holds.resend(record.shard, record.attempt_id, record.event))
