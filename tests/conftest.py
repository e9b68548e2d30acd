"""The real stores under every test: one embedded pair per test process, a database and an empty Valkey per test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.stores import Stores
from proxy.storage.migrate import migrate
from proxy.storage.postgres import Pool, connect, open_pool
from proxy.storage.redis import open_redis

TEMPLATE = "template_migrated"
T = TypeVar("T")
_numbers = itertools.count(1)


def run_now(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine in a loop of its own, without touching the loop of an asynchronous test."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


async def execute(dsn: str, *statements: str) -> None:
    conn = await connect(dsn, application_name="tests")
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """Not durable: no test pulls the plug of the machine. Tests that kill servers start a pair of their own."""
    folder = Path(tempfile.mkdtemp(prefix="synapscale-tests-"))
    try:
        running = Stores(DataFolder(folder), max_connections=200, durable=False)
        running.start()
        try:
            run_now(execute(running.database_url, f"CREATE DATABASE {TEMPLATE}"))
            run_now(migrate(running.postgres.dsn_of(TEMPLATE)))
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def empty_database_url(stores: Stores) -> Iterator[str]:
    """A database without any migration."""
    yield from _database(stores, "template1")


@pytest.fixture
def database_url(stores: Stores) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from _database(stores, TEMPLATE)


def _database(stores: Stores, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    run_now(execute(stores.database_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
    yield stores.postgres.dsn_of(name)
    run_now(execute(stores.database_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def redis_url(stores: Stores) -> str:
    """An empty Valkey."""

    async def flush() -> None:
        async with open_redis(stores.redis_url) as redis:
            await redis.flushall()
            await redis.script_flush()

    run_now(flush())
    return stores.redis_url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, max_size=8, application_name="tests")
    try:
        yield pool
    finally:
        await asyncio.wait_for(pool.close(), 10)
