from __future__ import annotations

import asyncio

import pytest

from proxy.catalog import store
from proxy.catalog.cache import CatalogCache
from proxy.catalog.plan import CatalogPlan, LlmPlan, ProviderPlan, RoutePlan
from proxy.catalog.snapshot import Catalog
from proxy.storage.postgres import Connection, Pool


def plan(name: str) -> CatalogPlan:
    return CatalogPlan((ProviderPlan("p", "openai", "http://p"),), (LlmPlan(name, 1, 1, (RoutePlan("p", "m"),)),))


async def sync(pool: Pool, name: str) -> None:
    async with pool.acquire() as conn:
        await store.sync(conn, plan(name))


async def test_empty_until_loaded_then_follows_the_table(pool: Pool) -> None:
    cache = CatalogCache(pool)
    assert cache.current == Catalog(0, {})
    await sync(pool, "a")
    first = await cache.reload()
    assert cache.current is first
    assert set(first.llms) == {"a"}
    await sync(pool, "b")
    assert set(cache.current.llms) == {"a"}
    await cache.reload()
    assert set(cache.current.llms) == {"b"}
    assert set(first.llms) == {"a"}  # a request that began with it keeps it


async def test_an_epoch_that_is_there_already_costs_nothing(pool: Pool) -> None:
    cache = CatalogCache(pool)
    await sync(pool, "a")
    first = await cache.reload()
    assert await cache.reload(at_least=first.epoch) is first
    assert await cache.reload(at_least=first.epoch + 1) is not first  # not there yet: what there is


async def test_many_stale_requests_share_one_load(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = 0
    real = store.load

    async def counted(conn: Connection, *, timeout_s: float) -> Catalog:
        nonlocal loads
        loads += 1
        return await real(conn, timeout_s=timeout_s)

    monkeypatch.setattr(store, "load", counted)
    cache = CatalogCache(pool)
    await sync(pool, "a")
    await asyncio.gather(*(cache.reload() for _ in range(50)))
    assert loads == 2  # the first caller's, and one that began after all the others had asked
    await cache.reload()
    assert loads == 3


async def test_who_asks_while_a_load_runs_gets_a_later_one(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running one may have read its epoch before the change that the caller knows of."""
    cache = CatalogCache(pool)
    await sync(pool, "a")
    read, go_on = asyncio.Event(), asyncio.Event()
    real = store.load

    async def slow(conn: Connection, *, timeout_s: float) -> Catalog:
        loaded = await real(conn, timeout_s=timeout_s)
        read.set()
        await go_on.wait()
        return loaded

    monkeypatch.setattr(store, "load", slow)
    running = asyncio.create_task(cache.reload())
    await read.wait()
    await sync(pool, "b")
    asked = asyncio.create_task(cache.reload())
    await asyncio.sleep(0)
    go_on.set()
    assert set((await running).llms) == {"a"}
    assert set((await asked).llms) == {"b"}


async def test_a_failed_load_keeps_what_was_there(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CatalogCache(pool)
    await sync(pool, "a")
    first = await cache.reload()

    async def away(conn: Connection, *, timeout_s: float) -> Catalog:
        raise ConnectionError("gone")

    monkeypatch.setattr(store, "load", away)
    with pytest.raises(ConnectionError):
        await cache.reload()
    assert cache.current is first
    monkeypatch.undo()
    assert set((await cache.reload()).llms) == {"a"}
