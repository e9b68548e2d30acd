"""Promise 8: a blocked, expired or changed key is in force everywhere at the next request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from proxy.epochs import store as epochs
from proxy.storage.postgres import connect
from tests.promises.books import audit
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import House, eventually
from tests.promises.provider import Provider

CONNECTIONS = 12


class Standing:
    """Connections that stay open, so that it is known which gateway answers: every one is asked each time."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self) -> Standing:
        """Until each gateway has some of them."""

        def both() -> bool:
            ports = [writer.get_extra_info("sockname")[1] for _, writer in self._lines]
            return len({pid for port, pid in self._house.served_by().items() if port in ports}) == 2

        while len(self._lines) < CONNECTIONS or not await eventually(both, "both gateways have accepted", timeout_s=5):
            self._lines.append(await asyncio.open_connection("127.0.0.1", self._house.port))
        return self

    async def ask(self, key: str, llm: str = "short") -> list[tuple[int, str]]:
        """Status and error code of each."""
        return list(await asyncio.gather(*(self._ask(reader, writer, key, llm) for reader, writer in self._lines)))

    async def close(self) -> None:
        for _, writer in self._lines:
            writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, llm: str
    ) -> tuple[int, str]:
        data = json.dumps({"model": llm, "messages": [{"role": "user", "content": "hello"}]}).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: house\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (key.encode(), len(data), data)
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body: dict[str, Any] = json.loads(await reader.readexactly(length))
        return int(head.split(b" ", 2)[1]), body.get("error", {}).get("code", "")


@pytest.fixture
async def standing(house: House) -> AsyncIterator[Standing]:
    standing = await Standing(house).connect()
    yield standing
    await standing.close()


def all_are(answers: list[tuple[int, str]], status: int, code: str = "") -> bool:
    return len(answers) >= CONNECTIONS and set(answers) == {(status, code)}


async def test_a_changed_key_is_in_force_at_the_very_next_request(house: House, standing: Standing) -> None:
    for number in range(5):
        key_id, key = house.new_key(f"changed {number}")
        assert all_are(await standing.ask(key), 200)
        house.api(f"virtual-keys/{key_id}", "PATCH", {"llms": ["cached"]})
        assert all_are(await standing.ask(key), 403, "model_not_allowed")
        assert all_are(await standing.ask(key, "cached"), 200)
        house.api(f"virtual-keys/{key_id}", "PATCH", {"llms": None})
        assert all_are(await standing.ask(key), 200)
        house.api(f"virtual-keys/{key_id}/block", "POST")
        assert all_are(await standing.ask(key), 401, "key_blocked")
        house.api(f"virtual-keys/{key_id}/unblock", "POST")
        assert all_are(await standing.ask(key), 200)
        rotated = house.api(f"virtual-keys/{key_id}/rotate", "POST")["key"]
        assert all_are(await standing.ask(key), 401, "invalid_api_key")
        assert all_are(await standing.ask(rotated), 200)
        house.api(f"virtual-keys/{key_id}", "DELETE")
        assert all_are(await standing.ask(rotated), 401, "invalid_api_key")


async def test_a_key_ends_when_it_was_said_to(house: House, standing: Standing) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=2)
    _, key = house.new_key("expiring", expires_at=ends.isoformat())
    assert all_are(await standing.ask(key), 200)
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.1)
    assert all_are(await standing.ask(key), 401, "key_expired")


async def test_whoever_blocked_it_died_before_redis_was_told(house: House, standing: Standing) -> None:
    """The transaction is all that happened; the reconciler does the rest."""
    key_id, key = house.new_key("half blocked")
    assert all_are(await standing.ask(key), 200)
    conn = await connect(house.database_url, application_name="dies at once")
    async with conn.transaction():
        [row] = await conn.fetch(
            "UPDATE virtual_keys SET status = 'blocked' WHERE id = $1 RETURNING workspace_id", UUID(key_id.removeprefix("key_"))
        )
        await epochs.bump(conn, row["workspace_id"])
    await conn.close()

    await refused(standing, key)


async def test_a_flush_right_after_does_not_let_it_in(house: House, standing: Standing) -> None:
    """Not once, on the way to being refused for the right reason: a shard is seeded with the epochs of Postgres."""
    for number in range(3):
        key_id, key = house.new_key(f"flushed {number}")
        assert all_are(await standing.ask(key), 200)
        house.api(f"virtual-keys/{key_id}/block", "POST")
        with house.valkey() as valkey:
            valkey.flushall()
        assert {status for status, _ in await refused(standing, key)} <= {401, 503}


async def test_blocked_while_redis_is_away(house: House, standing: Standing) -> None:
    """It cannot be told; when it is back it must be."""
    key_id, key = house.new_key("blocked without Redis")
    assert all_are(await standing.ask(key), 200)
    with house.supervisor_asleep():
        await house.kill("valkey")
        house.api(f"virtual-keys/{key_id}/block", "POST")
    await refused(standing, key)
    assert all_are(await standing.ask(key), 401, "key_blocked")


async def refused(standing: Standing, key: str) -> list[tuple[int, str]]:
    """All answers until each gateway says that it is blocked."""
    seen: list[tuple[int, str]] = []

    async def everywhere() -> bool:
        answers = await standing.ask(key)
        seen.extend(answers)
        return all_are(answers, 401, "key_blocked")

    await eventually(everywhere, "it is refused everywhere", timeout_s=20)
    return seen


@pytest.mark.timeout(120)
async def test_streams_under_way_end_with_it(house: House, provider: Provider, crowd: Crowd) -> None:
    doomed_id, doomed_key = house.new_key("doomed")
    _, spared_key = house.new_key("spared")
    async with asyncio.TaskGroup() as group:
        doomed = [group.create_task(crowd.ask(Ask("endless"), key=doomed_key)) for _ in range(CONNECTIONS)]
        spared = [group.create_task(crowd.ask(Ask("endless"), key=spared_key)) for _ in range(CONNECTIONS)]
        await eventually(lambda: sum(b"data:" in tried.body for tried in crowd.tries) == 2 * CONNECTIONS, "all are under way")
        by_port = house.served_by()
        assert len({by_port[tried.port] for tried in crowd.tries}) == 2
        house.api(f"virtual-keys/{doomed_id}/block", "POST")
        # Well before they would end by themselves, which takes 150 s.
        await eventually(lambda: all(task.done() for task in doomed), "the streams of the blocked key have ended", 20)
        assert not any(task.done() for task in spared)
        for task in spared:
            task.cancel()
    for task in doomed:
        tried = task.result()
        assert (tried.status, tried.end) == (200, "error_event") and b"key_blocked" in tried.body, tried
    books = await audit(house, provider, crowd)
    assert books.outcomes() == {"client_abort": 2 * CONNECTIONS}
