"""A gateway whose rows are found by who asked: `user` of a request is its label."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, get_args

import orjson

from proxy.identity.principal import ClientLeaves
from tests.gateway import until
from tests.server.house import HANG_S, HOT, Client, House
from tests.upstream.script import Script
from tests.upstream.server import Recorded

POLICIES: tuple[ClientLeaves, ...] = get_args(ClientLeaves)


@dataclass
class EndingsHouse(House):
    """`keys`: a workspace for each policy."""

    keys: dict[str, bytes] = field(default_factory=dict)

    async def open_workspaces(self) -> None:
        for policy in POLICIES:
            leaves = {"name": policy, "client_leaves": policy}
            workspace = await self.running.api("workspaces", method="POST", json=leaves, status=201)
            user = await self.running.api(
                "users", method="POST", json={"email": f"{policy}@example.com", "name": policy}, status=201
            )
            member = {"user_id": user["id"], "role": "member"}
            await self.running.api(f"workspaces/{workspace['id']}/members", method="POST", json=member, status=201)
            key = {"workspace_id": workspace["id"], "user_id": user["id"], "name": policy}
            made = await self.running.api("virtual-keys", method="POST", json=key, status=201)
            self.keys[policy] = made["key"].encode()

    def answers(self, scripts: dict[str, Script]) -> None:
        """The provider's, by the label of the request."""

        def answer(request: Recorded) -> Script:
            return scripts[request.json()["user"]]

        self.upstream.always(answer)

    def ask(self, llm: str, label: str, *, stream: bool, policy: str = "auto", path: bytes = HOT, **more: Any) -> bytes:
        asked = {"messages": [{"role": "user", "content": "Please say something."}]} if path == HOT else {}
        body = {"model": llm, "user": label, "stream": stream, **asked, **more}
        return self.post(orjson.dumps(body), key=self.keys[policy], path=path, extra=b"Connection: close\r\n")

    async def rows_of(self, labels: Collection[str]) -> dict[str, dict[str, Any]]:
        """Exactly one row each: a moment is allowed for them to arrive, none for others."""
        query = "SELECT * FROM usage_events WHERE end_user = ANY($1::text[])"
        found: list[Any] = []

        async def there() -> bool:
            found[:] = await self.running.gateway.pool.fetch(query, list(labels))
            return len(found) >= len(labels)

        await until(there, f"{len(labels)} rows", HANG_S)
        rows = {row["end_user"]: dict(row) for row in found}
        assert len(found) == len(rows) == len(labels)
        self.rows_asked = len(self.upstream.requests)
        for row in rows.values():
            never_negative(row)
        return rows

    async def forget(self, labels: Collection[str]) -> None:
        """The next test may use these labels again."""
        query = "UPDATE usage_events SET end_user = '' WHERE end_user = ANY($1::text[])"
        await self.running.gateway.pool.execute(query, list(labels))

    async def is_gone(self, client_port: int) -> None:
        """The gateway has heard that this client left."""

        async def gone() -> bool:
            return not any(line.split()[1].endswith(f":{client_port:04X}") for line in self.sockets(self.port))

        await until(gone, "the gateway sees that the client left", HANG_S)

    async def leave(self, client: Client) -> None:
        port = client.sock.getsockname()[1]
        client.reset()
        await self.is_gone(port)

    async def together(self, work: Callable[[str], Any], labels: Collection[str]) -> dict[str, Any]:
        done = await asyncio.gather(*(work(label) for label in labels))
        return dict(zip(labels, done, strict=True))


def never_negative(row: dict[str, Any]) -> None:
    names = ("input_tokens", "cached_tokens", "output_tokens", "list_pusd", "charge_pusd")
    assert all(row[name] >= 0 for name in names) and row["cached_tokens"] <= row["input_tokens"], row
    assert (row["reasoning_tokens"] or 0) >= 0, row
    for name in ("quantities", "line_list_pusd", "line_charge_pusd"):
        assert all(amount >= 0 for amount in row[name]), row
