"""Promise 5: the provider's bytes are the client's bytes, whatever else is going on in the house."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.promises.crowd import Ask, Crowd
from tests.promises.house import House
from tests.promises.provider import LLMS, Provider

MESSAGES = [{"role": "user", "content": 'Grüße \u2028 "quoted" \\ back'}]


async def body_of(url: str, key: str, body: dict[str, Any]) -> bytes:
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with session.post(f"{url}/chat/completions", headers=headers, data=json.dumps(body)) as answer:
            return await answer.read()


@pytest.mark.parametrize("options", [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}])
async def test_through_the_house_as_without_it(
    house: House, provider: Provider, crowd: Crowd, options: dict[str, Any]
) -> None:
    async def compare(llm: str) -> None:
        asked = {"messages": MESSAGES, **options}
        through = await body_of(house.url + "/v1", house.key, {**asked, "model": llm})
        without = await body_of(provider.base_url, "any", {**asked, "model": LLMS[llm]})
        assert len(without) > 50
        if options == {"stream": True}:
            # A provider asked for usage adds `"usage":null` to each chunk: only the chunk that is nothing else is removed.
            through = through.replace(b',"usage":null', b"")
        assert through == without, llm

    async def meanwhile() -> None:
        await asyncio.gather(*(compare(llm) for llm in ("short", "cached", "paced", "failing", "silent") for _ in range(5)))

    await crowd.busy(10, [Ask("paced"), Ask("short")], meanwhile)
