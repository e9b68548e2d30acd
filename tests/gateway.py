"""A gateway and a worker in the test's own event loop, on real stores, in front of a scripted upstream.

Import the fixture in a `conftest.py`: `from tests.gateway import gateway_of, gateway`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.app.gateway import Gateway
from proxy.app.worker import Worker
from proxy.cli.prepare import prepare
from proxy.settings.key_files import ADMIN_KEY, FIRST_KEY, master_key
from proxy.settings.load import load
from proxy.settings.tree import Settings
from tests.upstream.server import Upstream

PROVIDER_KEY = "fake-provider-key-0123456789"
# Per million tokens: every class has a price of its own, so that a wrong class shows in the sum.
PRICE = {
    "input": "0.15", "cache_read": "0.075", "cache_write_5m": "0.19", "output": "0.60", "input_audio": "10.00",
    "output_audio": "20.00", "input_image": "0.30",
}  # fmt: skip


@dataclass
class RunningGateway:
    """`url` without /v1. `key` is the first virtual key, `admin_key` the first management key."""

    url: str
    key: str
    admin_key: str
    gateway: Gateway
    session: aiohttp.ClientSession

    async def chat(
        self, body: dict[str, Any] | bytes, *, key: str | None = None, **headers: str
    ) -> aiohttp.ClientResponse:
        """The answer with its whole body read."""
        options: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        sent = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json", **headers}
        response = await self.session.post(f"{self.url}/v1/chat/completions", headers=sent, **options)
        await response.read()
        return response

    async def api(self, path: str, *, method: str = "GET", json: Any = None, status: int | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        async with self.session.request(method, f"{self.url}/api/v1/{path}", headers=headers, json=json) as response:
            text = await response.text()
            assert response.status == (status or response.status) and response.status < 500, text
            return await response.json() if text else None

    async def rows(self, count: int, timeout_s: float = 10) -> list[dict[str, Any]]:
        """Exactly `count` usage events, oldest first: a moment is allowed for them to arrive, none for others."""

        async def enough() -> bool:
            return len((await self.api("usage/events?limit=100"))["data"]) >= count

        await until(enough, f"{count} rows", timeout_s)
        rows: list[dict[str, Any]] = (await self.api("usage/events?limit=100&order=asc"))["data"]
        assert len(rows) == count, f"{len(rows)} rows instead of {count}"
        return rows


async def until(holds: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not await holds():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)


def settings_of(
    folder: Path, database_url: str, redis_url: str, providers: dict[str, Any], llms: list[dict[str, Any]], **parts: Any
) -> Settings:
    (folder / "config.yaml").write_text("{}\n")
    fast: dict[str, Any] = {
        "stores": {"database_url": database_url, "redis_url": redis_url, "data_dir": str(folder / "data")},
        "providers": providers,
        "llms": llms,
        "master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        **parts,
        "server": {"idle_close_s": 0, **parts.get("server", {})},
    }
    overrides = {(name,): value for name, value in fast.items() if not isinstance(value, dict) or name == "providers"}
    overrides |= {
        (name, key): inner
        for name, value in fast.items()
        if isinstance(value, dict) and name != "providers"
        for key, inner in value.items()
    }
    return load(folder / "config.yaml", overrides)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[RunningGateway]:
    assert settings.stores.database_url is not None
    await prepare(settings, settings.stores.database_url.get_secret_value(), master_key(settings))
    sock = socket.create_server(("127.0.0.1", 0))
    worker, gateway = Worker(settings), Gateway(settings, sock)
    port = sock.getsockname()[1]
    data = settings.stores.data_dir
    await worker.start()
    await asyncio.wait_for(gateway.start(), 20)
    try:
        async with aiohttp.ClientSession() as session:
            yield RunningGateway(
                f"http://127.0.0.1:{port}",
                (data / FIRST_KEY).read_text().strip(),
                (data / ADMIN_KEY).read_text().strip(),
                gateway,
                session,
            )
    finally:
        await gateway.stop()
        await worker.stop()


def one_provider(base_url: str, **provider: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    providers = {"scripted": {"dialect": "openai", "base_url": base_url, "api_key": PROVIDER_KEY, **provider}}
    llm = {"name": "scripted-llm", "routes": [{"provider": "scripted", "model": "upstream-model"}], "context_window": 128000,
           "max_output": 16384, "price": PRICE}  # fmt: skip
    return providers, [llm]


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    """`scripted-llm` is `upstream-model` at the scripted upstream, with the global key."""
    providers, llms = one_provider(upstream.base_url)
    settings = settings_of(
        tmp_path, database_url, redis_url, providers, llms, server={"shutdown_grace_s": 1.0}, upstream={"drain_s": 2.0}
    )
    async with running(settings) as up:
        yield up
