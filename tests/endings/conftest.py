from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from proxy.providers.registry import READERS
from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import connect
from proxy.storage.redis import open_redis
from tests.endings.house import EndingsHouse
from tests.gateway import PRICE, PROVIDER_KEY, running, settings_of
from tests.server.house import Provider, watched

_numbers = itertools.count(1)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `serve` runs on: loops differ in how they lose connections and buffer writes."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_house(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EndingsHouse]:
    """One gateway for all of a module: an llm per usage reader, a key per policy, limits that a test can wait for."""
    name = f"endings_{next(_numbers)}"
    conn = await connect(stores.database_url, application_name="tests")
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE template_migrated STRATEGY file_copy")
    async with open_redis(stores.redis_url) as redis:
        await redis.flushall()
        await redis.script_flush()
    async with Provider() as upstream:
        provider = {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY}
        settings = settings_of(
            tmp_path_factory.mktemp("endings"), stores.postgres.dsn_of(name), stores.redis_url,
            {reader: {**provider, "usage_reader": reader} for reader in READERS},
            [{"name": reader, "routes": [{"provider": reader, "model": "recorded"}], "price": PRICE} for reader in READERS],
            server={"write_timeout_s": 0.5, "shutdown_grace_s": 1.0, "keep_alive_s": 1.0},
            upstream={"drain_s": 5.0, "keep_alive_s": 1.0, "idle_timeout_s": 1.0, "first_byte_timeout_s": 1.0,
                      "max_in_flight_share": 1.0},
        )  # fmt: skip
        async with running(settings) as up:
            house = EndingsHouse(up, upstream)
            asyncio.get_running_loop().set_exception_handler(lambda _, context: house.loop_errors.append(context))
            await house.open_workspaces()
            yield house
            await house.provider_left()
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running_house: EndingsHouse) -> AsyncIterator[EndingsHouse]:
    async with watched(running_house):
        yield running_house
