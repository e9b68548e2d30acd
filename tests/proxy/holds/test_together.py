from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.holds.away import StoreAway, Unanswered
from proxy.holds.together import together


async def test_answers_in_order() -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(3)]
    for number in (2, 0, 1):
        loop.call_soon(futures[number].set_result, number)
    assert await together(futures) == [0, 1, 2]


async def test_a_call_that_cannot_be_sent_ends_it_and_the_others_are_not_complained_of() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    sent = [loop.create_future()]

    def calls() -> Iterator[asyncio.Future[int]]:
        yield sent[0]
        raise StoreAway("no line")

    with pytest.raises(StoreAway, match="no line"):
        await together(calls())
    sent[0].set_exception(Unanswered("lost"))
    await asyncio.sleep(0)
    sent.clear()
    gc.collect()
    assert told == []
