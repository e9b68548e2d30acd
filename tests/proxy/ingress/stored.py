"""Responses as OpenAI sends and stores them, clients that ask for them, and people to whom they do not belong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
from yarl import URL

from proxy.app.gateway import Gateway
from proxy.settings.tree import Settings
from tests.gateway import RunningGateway
from tests.upstream.script import Script, chunked, whole
from tests.upstream.server import Upstream

MODEL = "scripted-llm"
ID = "resp_0123456789abcdef0123456789abcdef"
OTHER = "resp_fedcba9876543210fedcba9876543210"
ITEM = "msg_0123456789abcdef0123456789abcdef"
FILE = "file-0123456789abcdef0123456789"
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
OWN_KEY = "fake-own-key-987654321"
ERROR = {"message", "type", "param", "code"}


def stored(id: str = ID, **fields: Any) -> dict[str, Any]:
    item = {"id": ITEM, "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Paris.", "annotations": []}]}  # fmt: skip
    return {"id": id, "object": "response", "status": "completed", "error": None, "model": "upstream-model", "output": [item],
            "store": True, "usage": USAGE, **fields}  # fmt: skip


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def streamed(id: str = ID) -> Script:
    done = stored(id)
    return chunked([
        event("response.created", response=stored(id, status="in_progress", output=[], usage=None)),
        event("response.output_item.added", output_index=0, item=done["output"][0]),
        event("response.output_text.delta", item_id=ITEM, delta="Paris."),
        event("response.completed", response=done),
    ])  # fmt: skip


def answer(body: Any, **options: Any) -> Script:
    return whole(orjson.dumps(body), **options)


class Said(NamedTuple):
    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def refused(self, status: int, code: str) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        assert (self.status, error["code"]) == (status, code), self.body
        assert set(error) == ERROR and self.headers["x-request-id"].startswith("req_")
        return error


async def say(
    gateway: RunningGateway, method: str, path: str, *, key: str | None = None, url: str | None = None, json: Any = None,
    data: bytes | None = None, headers: dict[str, str] | None = None,
) -> Said:  # fmt: skip
    body = data if json is None else orjson.dumps(json)
    sent = {"Authorization": f"Bearer {key or gateway.key}", "Content-Type": "application/json", **(headers or {})}
    where = URL(f"{url or gateway.url}/v1/{path}", encoded=True)
    async with gateway.session.request(method, where, data=body, headers=sent) as response:
        return Said(response.status, await response.read(), response.headers)


async def create(gateway: RunningGateway, upstream: Upstream, id: str = ID, **options: Any) -> Said:
    upstream.expect(answer(stored(id)))
    made = await say(gateway, "POST", "responses", json={"model": MODEL, "input": "Hello"}, **options)
    assert made.status == 200, made.body
    return made


# Every way to name a response, and what OpenAI sends back (its body does not matter to who may ask).
NAMED: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "responses/{id}", None),
    ("GET", "responses/{id}/input_items", None),
    ("POST", "responses/{id}/cancel", None),
    ("POST", "responses", {"model": MODEL, "input": "On", "previous_response_id": "{id}"}),
    ("DELETE", "responses/{id}", None),
]


async def refused_everywhere(
    gateway: RunningGateway, upstream: Upstream, id: str, *, key: str | None = None, url: str | None = None
) -> None:
    """404 by all ways, in the words that an id gets which nobody has, and nothing goes out."""
    before, nobodys = len(upstream.requests), "resp_" + "9" * 32
    for method, path, json in NAMED:
        said = []
        for named in (id, nobodys):
            body = None if json is None else orjson.loads(orjson.dumps(json).replace(b"{id}", named.encode()))
            said.append(await say(gateway, method, path.format(id=named), key=key, url=url, json=body))
        said[0].refused(404, "not_found" if json is None else "previous_response_not_found")
        assert said[0].body.replace(id.encode(), nobodys.encode()) == said[1].body
    assert len(upstream.requests) == before


async def key_of(
    gateway: RunningGateway, *, workspace: str | None = None, name: str = "second", scope: str | None = None
) -> tuple[str, str]:
    """A key of a new user; in a new workspace unless one is given. And the workspace."""
    if workspace is None:
        workspace = (await gateway.api("workspaces", method="POST", json={"name": name}, status=201))["id"]
    email = {"email": f"{name}@example.com", "name": name}
    user = (await gateway.api("users", method="POST", json=email, status=201))["id"]
    await gateway.api(
        f"workspaces/{workspace}/members", method="POST", json={"user_id": user, "role": "member"}, status=201
    )
    if scope is not None:
        await own_key(gateway, workspace, scope, user)
    wanted = {"workspace_id": workspace, "user_id": user, "name": name}
    return (await gateway.api("virtual-keys", method="POST", json=wanted, status=201))["key"], workspace


async def own_key(gateway: RunningGateway, workspace: str, scope: str = "workspace", user: str | None = None) -> str:
    variable = {"workspace_id": workspace, "scope": scope, "provider": "scripted", "value": OWN_KEY}
    if user is not None and scope == "user":
        variable["user_id"] = user
    made: str = (await gateway.api("user-variables", method="POST", json=variable, status=201))["id"]
    return made


async def first_workspace(gateway: RunningGateway) -> str:
    found: str = (await gateway.api("workspaces"))["data"][0]["id"]
    return found


@contextlib.asynccontextmanager
async def another(settings: Settings) -> AsyncIterator[str]:
    sock = socket.create_server(("127.0.0.1", 0))
    gateway = Gateway(settings, sock)
    await asyncio.wait_for(gateway.start(), 20)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await gateway.stop()
