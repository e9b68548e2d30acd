"""Gateways' knowledge of objects on a real database, and the line to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

import pytest

from proxy.objects.kinds import Account, Minted
from proxy.objects.objects import Objects
from proxy.objects.owner import Owner
from proxy.objects.references import Reference
from proxy.storage.postgres import Pool, open_pool
from tests.line import Line
from tests.management import Deployment, SetClock

OPENAI = Account("openai")


def over(line: Line, dsn: str) -> str:
    """The same database, by way of the line."""
    parts = urlsplit(dsn)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")]
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{line.host}:{line.port}", query=urlencode(query)))


class House:
    """Workspaces, and gateways by number; `line` lies before those that `cut_off` made."""

    def __init__(self, pool: Pool, line: Line, dsn: str, stack: AsyncExitStack) -> None:
        self.pool = pool
        self.line = line
        self.deployment = Deployment(pool)
        self.clock: SetClock = self.deployment.clock
        self._dsn = dsn
        self._stack = stack

    async def gateway(self, **options: int) -> Objects:
        objects = Objects(self.pool, self.clock, **options)
        objects.start()
        self._stack.push_async_callback(objects.stop, 5.0)
        return objects

    async def cut_off(self, **options: int) -> Objects:
        pool = await open_pool(over(self.line, self._dsn), max_size=4, application_name="tests over a line")
        self._stack.push_async_callback(pool.close)
        objects = Objects(pool, self.clock, **options)
        objects.start()
        self._stack.push_async_callback(objects.stop, 5.0)
        return objects

    async def workspace(self, name: str = "acme") -> UUID:
        return await self.deployment.workspace(name)


@pytest.fixture
async def house(pool: Pool, database_url: str) -> AsyncIterator[House]:
    parts = dict(parse_qsl(urlsplit(database_url).query))
    target: str | tuple[str, int]
    if "host" in parts:
        target = f"{parts['host']}/.s.PGSQL.{parts.get('port', '5432')}"
    else:
        found = urlsplit(database_url)
        target = (found.hostname or "127.0.0.1", found.port or 5432)
    async with Line(target) as line, AsyncExitStack() as stack:
        yield House(pool, line, database_url, stack)


def response(id: str) -> Minted:
    return Minted("response", id)


def ref(id: str, kind: str = "response", *, inline: bool = False) -> Reference:
    return Reference(kind, id, "previous_response_id", inline)


def at(*accounts: Account) -> Owner:
    return Owner(accounts)
