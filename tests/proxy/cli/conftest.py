"""The management API on real stores, and commands run against it as a person runs them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from proxy.api.context import ApiContext
from proxy.api.routes import add_api
from proxy.audit.write import ManagementWriter
from proxy.cli.main import run
from proxy.cli.prepare import Prepared, prepare
from proxy.identity.hashing import KeyHasher
from proxy.identity.resolve import Resolver
from proxy.server.health import add_health
from proxy.server.middleware import dress, make_middleware
from proxy.settings.tree import Settings
from proxy.storage.postgres import Pool
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.vault import store as variables
from proxy.vault.master import MasterKey
from proxy.vault.seal import Vault


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SYNAPSCALE_") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Awaitable[Ran]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`await cli("keys", "list")`. Like in a pipe: standard output is no terminal."""

    async def run_it(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = await asyncio.to_thread(run, list(arguments))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run_it


@pytest.fixture
def master() -> MasterKey:
    return MasterKey(bytes(range(32)))


@pytest.fixture
async def started(database_url: str, master: MasterKey, tmp_path: Path) -> Prepared:
    """A database after its first start; keys in `<tmp_path>/.synapscale`."""
    settings = Settings(stores={"data_dir": tmp_path / ".synapscale", "database_url": database_url})  # type: ignore[arg-type]
    return await prepare(settings, database_url, master)


@pytest.fixture
async def api(pool: Pool, master: MasterKey, started: Prepared, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The API's address, which commands then use, with the first management key of the data folder."""
    clock, metrics, vault, hasher = Clock(), Metrics(), Vault(master), KeyHasher(master.hash_key)

    async def publish(raised: object) -> None:
        return None

    app = web.Application(middlewares=[make_middleware(clock, metrics)])
    app.on_response_prepare.append(dress)
    resolver = Resolver(pool, hasher, clock, variables)
    writer = ManagementWriter(pool, vault, publish, clock)
    add_api(app, ApiContext(pool, writer, vault, hasher, resolver, clock))

    async def checks() -> dict[str, str | None]:
        return {"postgres": None}

    add_health(app, metrics, checks, "0.0.0")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setenv("SYNAPSCALE_URL", base)
    yield base
    await runner.cleanup()
