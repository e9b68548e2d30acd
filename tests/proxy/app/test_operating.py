"""A gateway and a worker as an operator meets them: the master key held against the database, and what monitors read."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.app.worker import Worker
from proxy.cli.prepare import prepare
from proxy.settings.key_files import master_key
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings
from proxy.storage.postgres import Pool
from proxy.vault.master import MasterKey
from proxy.vault.rotate import retire, rotate
from tests.gateway import RunningGateway, one_provider, running, settings_of, until
from tests.upstream.plugin import upstream as upstream
from tests.upstream.script import whole
from tests.upstream.server import Upstream

ROOT = Path(__file__).parents[3]
OLD, NEW = MasterKey(bytes(range(32))), MasterKey(bytes(range(100, 132)))
TEXTS = {OLD.key_id: bytes(range(32)), NEW.key_id: bytes(range(100, 132))}
OWN_KEY = "own-provider-key-0123456789"
ASK = {"model": "scripted-llm", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = json.dumps({
    "id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "ho"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}).encode()  # fmt: skip


class Place:
    """One database, one Redis, one data folder; a gateway is started on them with this or that master key."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, base_url: str) -> None:
        self._parts = (folder, database_url, redis_url, *one_provider(base_url))

    def settings(self, master: MasterKey, **parts: Any) -> Settings:
        text = base64.b64encode(TEXTS[master.key_id]).decode()
        return settings_of(*self._parts, master_key=text, server={"shutdown_grace_s": 1.0}, **parts)


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream) -> Place:
    return Place(tmp_path, database_url, redis_url, upstream.base_url)


async def store_own_key(up: RunningGateway) -> None:
    [workspace] = (await up.api("workspaces"))["data"]
    body = {"workspace_id": workspace["id"], "scope": "workspace", "provider": "scripted", "value": OWN_KEY}
    await up.api("user-variables", method="POST", json=body, status=201)


async def works(up: RunningGateway, upstream: Upstream) -> bool:
    """The virtual key is known, and the own provider key opens and goes out."""
    upstream.expect(whole(ANSWER, headers=[("content-type", "application/json")]))
    response = await up.chat(ASK)
    return response.status == 200 and upstream.requests[-1].header("authorization") == f"Bearer {OWN_KEY}"


async def test_a_rotation_under_a_running_gateway(place: Place, pool: Pool, upstream: Upstream) -> None:
    """Old process, new process, both beside each other: every key works at every moment, and then the old one is out."""
    async with running(place.settings(OLD)) as old:
        await store_own_key(old)
        assert await works(old, upstream)
        async with pool.acquire() as db, db.transaction():
            assert (await rotate(db, OLD, NEW)).variables == 1
        assert await works(old, upstream)  # out of its cache
        # A change makes it load the variables anew: they are sealed with a key that it was not started with.
        [variable] = (await old.api("user-variables"))["data"]
        await old.api(f"user-variables/{variable['id']}", method="PATCH", json={"expires_at": "2999-01-01T00:00:00Z"})
        assert await works(old, upstream)
        async with running(place.settings(NEW)) as new:
            assert await works(new, upstream)
            # What the old process seals, the new one opens, and the other way round.
            for writer, reader in ((old, new), (new, old)):
                await writer.api(f"user-variables/{variable['id']}", method="PATCH", json={"value": OWN_KEY})
                assert await works(reader, upstream)
            async with pool.acquire() as db, db.transaction():
                assert (await retire(db, NEW)).key_ids == [OLD.key_id]
            assert await works(new, upstream)
            assert await ready(new) == (200, "ok")
            status, said = await ready(old)
            assert status == 503 and "no longer accepted" in said
    with pytest.raises(ConfigError, match="not the one of this database"):
        async with running(place.settings(OLD)):
            pass


async def ready(up: RunningGateway) -> tuple[int, str]:
    async with up.session.get(f"{up.url}/health/ready") as answer:
        return answer.status, (await answer.json())["checks"].get("master_key", "ok")


async def test_a_gateway_process_with_another_databases_key_refuses_to_start(place: Place, database_url: str) -> None:
    settings = place.settings(OLD)
    await prepare(settings, database_url, master_key(settings))
    environment = {
        **os.environ, "DATABASE_URL": database_url, "REDIS_URL": str(settings.stores.redis_url.get_secret_value()),  # type: ignore[union-attr]
        "SYNAPSCALE_MASTER_KEY": base64.b64encode(TEXTS[NEW.key_id]).decode(),
        "SYNAPSCALE_DATA_DIR": str(settings.stores.data_dir),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "gateway", "--port", "0", "--config", str(settings.stores.data_dir.parent / "config.yaml"),
        cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 60)
    text = said.decode()
    assert process.returncode == 2, text
    assert "not the one of this database" in text and NEW.key_id.hex() in text and OLD.key_id.hex() in text
    assert "Traceback" not in text and environment["SYNAPSCALE_MASTER_KEY"] not in text


async def test_a_worker_answers_monitors(place: Place, database_url: str, unused_tcp_port: int) -> None:
    settings = place.settings(OLD, worker={"port": unused_tcp_port})
    await prepare(settings, database_url, master_key(settings))
    worker = Worker(settings)
    await worker.start()
    base = f"http://127.0.0.1:{unused_tcp_port}"
    try:
        async with aiohttp.ClientSession() as session:

            async def told() -> bool:
                async with session.get(f"{base}/metrics") as answer:
                    lines = (await answer.text()).splitlines()
                wanted = ('synapscale_processes{role="worker"} 1.0', 'synapscale_stream_oldest_seconds{shard="0"} 0.0')
                return answer.status == 200 and all(line in lines for line in wanted)

            await until(told, "the worker tells of itself and its stream")
            async with session.get(f"{base}/health/ready") as answer:
                assert answer.status == 200, await answer.text()
    finally:
        await worker.stop()
