from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import connect
from proxy.storage.redis import open_redis
from tests.gateway import one_provider, running, settings_of
from tests.server.house import BODY_S, HEAD_S, MAX_BODY_MIB, WRITE_S, House, Provider, watched

_numbers = itertools.count(1)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `serve` runs on: loops differ in how they lose connections and buffer writes."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_house(
    request: pytest.FixtureRequest, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Its own database and an empty Valkey; limits so short that a test can wait for them. A module may add to `SERVER`."""
    name = f"raw_sockets_{next(_numbers)}"
    conn = await connect(stores.database_url, application_name="tests")
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE template_migrated STRATEGY file_copy")
    async with open_redis(stores.redis_url) as redis:
        await redis.flushall()
        await redis.script_flush()
    upstream = Provider()
    async with upstream:
        providers, llms = one_provider(upstream.base_url)
        settings = settings_of(
            tmp_path_factory.mktemp("raw"), stores.postgres.dsn_of(name), stores.redis_url, providers, llms,
            server={"header_timeout_s": HEAD_S, "body_timeout_s": BODY_S, "write_timeout_s": WRITE_S,
                    "max_body_mib": MAX_BODY_MIB, "keep_alive_s": 3.0, "shutdown_grace_s": 1.0,
                    **getattr(request.module, "SERVER", {})},
            upstream={"drain_s": 1.0, "keep_alive_s": 0.5, "idle_timeout_s": 2.0, "first_byte_timeout_s": 3.0},
        )  # fmt: skip
        async with running(settings) as up:
            house = House(up, upstream)
            asyncio.get_running_loop().set_exception_handler(lambda _, context: house.loop_errors.append(context))
            yield house
            await house.provider_left()
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running_house: House, caplog: pytest.LogCaptureFixture) -> AsyncIterator[House]:
    caplog.set_level(logging.DEBUG)
    async with watched(running_house) as house:
        yield house
    bad = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not bad, bad
