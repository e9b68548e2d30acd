"""A provider that stalls holds its own places and no others: everybody else is served as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway import PRICE, PROVIDER_KEY, RunningGateway, running, settings_of, until
from tests.upstream.script import Hold, Reset, Script, whole
from tests.upstream.server import Upstream

ANSWER = whole(
    b'{"choices":[{"index":0,"message":{"content":"Hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
ROUTES = {"at-one": ["one"], "at-two": ["two"], "at-small": ["small"], "one-first": ["one", "two"], "two-first": ["two", "one"]}
MOST = 3  # 60 % of 5


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream
        upstream.verify()


@pytest.fixture
async def up(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream, other: Upstream
) -> AsyncIterator[RunningGateway]:
    """`one` is `upstream`, `two` is `other`; `small` is `upstream` under a name with a place of its own."""
    both = {"dialect": "openai", "api_key": PROVIDER_KEY}
    providers = {
        "one": {**both, "base_url": upstream.base_url}, "two": {**both, "base_url": other.base_url},
        "small": {**both, "base_url": upstream.base_url, "max_in_flight": 1},
    }  # fmt: skip
    llms = [
        {"name": name, "routes": [{"provider": each, "model": "m"} for each in at], "price": PRICE}
        for name, at in ROUTES.items()
    ]
    parts = {"server": {"max_in_flight": 5, "shutdown_grace_s": 1.0}, "upstream": {"drain_s": 0.1}}
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms, **parts)) as up:
        yield up
        assert [taken(up, name) for name in ("one", "two", "small")] == [0, 0, 0]


def taken(up: RunningGateway, provider: str) -> int:
    return up.gateway.places.of(provider).taken


async def ask(up: RunningGateway, llm: str) -> aiohttp.ClientResponse:
    return await up.chat({"model": llm, "messages": [{"role": "user", "content": "hi"}]})


async def refused(response: aiohttp.ClientResponse, provider: str) -> None:
    error = (await response.json())["error"]
    assert (response.status, error["code"], response.headers["retry-after"]) == (503, "overloaded", "1")
    assert f"the provider {provider}" in error["message"]


async def stalled(up: RunningGateway, upstream: Upstream, let_go: asyncio.Event) -> list[asyncio.Task[Any]]:
    """`one` holds all of its places."""
    upstream.expect(*[Script([Hold(let_go), *ANSWER.steps])] * MOST)
    waiting = [asyncio.ensure_future(ask(up, "at-one")) for _ in range(MOST)]

    async def asked() -> bool:
        return len(upstream.requests) == MOST

    await until(asked, "all of them have reached the provider")
    return waiting


async def test_the_others_are_served_while_one_is_stalled(up: RunningGateway, upstream: Upstream, other: Upstream) -> None:
    let_go = asyncio.Event()
    waiting = await stalled(up, upstream, let_go)
    await refused(await ask(up, "at-one"), "one")
    other.always(ANSWER)
    assert [(await ask(up, "at-two")).status for _ in range(4)] == [200] * 4
    response = await ask(up, "one-first")
    assert (response.status, response.headers["x-synapscale-provider"], response.headers["x-synapscale-attempts"]) == (200, "two", "1")
    let_go.set()
    assert [each.status for each in await asyncio.gather(*waiting)] == [200] * MOST
    upstream.expect(ANSWER)
    assert (await ask(up, "at-one")).status == 200
    async with up.session.get(f"{up.url}/metrics") as metrics:
        assert 'synapscale_refusals_total{code="overloaded"} 1.0' in await metrics.text()
    rows = await up.rows(MOST + 4 + 1 + 1)  # none of the refused one
    assert {row["outcome"] for row in rows} == {"ok"}


async def test_a_burst_gets_no_more_than_its_places(up: RunningGateway, upstream: Upstream) -> None:
    """All at once: a place is taken before the attempt is announced, not when it is sent."""
    let_go = asyncio.Event()
    upstream.expect(*[Script([Hold(let_go), *ANSWER.steps])] * MOST)
    burst = [asyncio.ensure_future(ask(up, "at-one")) for _ in range(5)]

    async def two_are_back() -> bool:
        return sum(each.done() for each in burst) == 5 - MOST

    await until(two_are_back, "two are refused")
    let_go.set()
    assert sorted(each.status for each in await asyncio.gather(*burst)) == [200] * MOST + [503] * (5 - MOST)
    await up.rows(MOST)


async def test_after_a_failure_a_full_provider_is_not_tried(up: RunningGateway, upstream: Upstream, other: Upstream) -> None:
    let_go = asyncio.Event()
    waiting = await stalled(up, upstream, let_go)
    other.expect(whole(b'{"error":{"message":"try later"}}', status=500))
    response = await ask(up, "two-first")
    assert (response.status, response.headers["x-synapscale-provider"]) == (500, "two")
    let_go.set()
    await asyncio.gather(*waiting)
    await up.rows(MOST + 1)


async def test_a_provider_with_places_of_its_own_gives_them_back_however_it_ends(
    up: RunningGateway, upstream: Upstream
) -> None:
    async def free() -> bool:
        return taken(up, "small") == 0

    let_go = asyncio.Event()
    upstream.expect(Script([Hold(let_go), *ANSWER.steps]))
    leaving = asyncio.ensure_future(ask(up, "at-small"))

    async def asked() -> bool:
        return len(upstream.requests) == 1

    await until(asked, "the provider is asked")
    await refused(await ask(up, "at-small"), "small")
    leaving.cancel()
    await until(free, "the place of a client that left is free")
    for broken in (Script([Reset()]), whole(b"{}", status=400), whole(b"not JSON")):
        upstream.expect(broken)
        await ask(up, "at-small")
        await until(free, "the place is free")
    upstream.expect(ANSWER)
    assert (await ask(up, "at-small")).status == 200
    await up.rows(5)
