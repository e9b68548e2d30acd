"""Several calls in one pipeline, waited for as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from proxy.holds.away import StoreAway

T = TypeVar("T")


async def together(calls: Iterable[asyncio.Future[T]]) -> list[T]:
    """The answers, in order. `calls` is consumed lazily: making a future is what sends it, and may raise StoreAway."""
    sent: list[asyncio.Future[T]] = []
    try:
        for answer in calls:
            sent.append(answer)
    except StoreAway:
        for answer in sent:
            answer.add_done_callback(lambda seen: seen.cancelled() or seen.exception())
        raise
    return await asyncio.gather(*sent)
