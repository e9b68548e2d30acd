"""The management API on real sockets and a real database. Every answer is held against the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from proxy.api.context import ApiContext
from proxy.api.openapi import document
from proxy.api.routes import PREFIX, add_api
from proxy.api.table import ENDPOINTS
from proxy.storage.postgres import Pool
from proxy.wire.ids import to_wire
from proxy.wire.refusals import Refused
from tests.management import Deployment
from tests.proxy.api.json_schema import problems

DOCUMENT = document(ENDPOINTS, PREFIX)


class Answer(NamedTuple):
    status: int
    json: Any
    headers: Any

    @property
    def code(self) -> str | None:
        return self.json["error"]["code"]  # type: ignore[no-any-return]

    @property
    def param(self) -> str | None:
        return self.json["error"]["param"]  # type: ignore[no-any-return]


class Api:
    def __init__(self, client: Any, deployment: Deployment) -> None:
        self.client = client
        self.deployment = deployment
        self.platform = ""

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.platform if key is None else key}"} | (headers or {})
        options: dict[str, Any] = {} if body is None else {"json": body}
        async with self.client.request(method, PREFIX + path, headers=sent, **options) as response:
            is_json = response.content_type == "application/json"
            content = await response.json() if is_json else await response.text()
            answer = Answer(response.status, content, response.headers)
        check(method, PREFIX + path, answer)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, body, **options)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = await self.call(method, path, body, **options)
        assert answer.status in (200, 201), answer
        return answer.json


class Tenant(NamedTuple):
    """A workspace with a thing of every kind."""

    workspace: UUID
    owner: str  # a management key
    user: UUID
    key: UUID
    secret: str
    manager: UUID
    variable: UUID

    @property
    def ws(self) -> str:
        return to_wire("ws", self.workspace)

    @property
    def user_id(self) -> str:
        return to_wire("user", self.user)

    @property
    def key_id(self) -> str:
        return to_wire("key", self.key)

    @property
    def mk(self) -> str:
        return to_wire("mk", self.manager)

    @property
    def uv(self) -> str:
        return to_wire("uv", self.variable)


def check(method: str, path: str, answer: Answer) -> None:
    """The answer is what the document says."""
    operation = operation_of(method, path)
    if operation is None:
        return
    response = operation["responses"].get(str(answer.status), operation["responses"]["default"])
    if isinstance(answer.json, str):  # a file
        assert answer.headers["Content-Type"] in response["content"]
        return
    schema = response["content"]["application/json"]["schema"]
    found = problems(answer.json, schema, DOCUMENT)
    assert not found, f"{method} {path} {answer.status}: {found}"


def operation_of(method: str, path: str) -> Any:
    for template, operations in DOCUMENT["paths"].items():
        pattern = re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path.partition("?")[0]) and method.lower() in operations:
            return operations[method.lower()]
    return None


@web.middleware
async def refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        return web.Response(
            status=refusal.status, body=refusal.body(), content_type="application/json", headers=refusal.headers()
        )


@pytest.fixture
def deployment(pool: Pool) -> Deployment:
    return Deployment(pool)


Client = Callable[[web.Application], Awaitable[TestClient[Any, Any]]]


def application(deployment: Deployment) -> web.Application:
    app = web.Application(middlewares=[refusals])
    context = ApiContext(
        pool=deployment.pool, writer=deployment.writer, vault=deployment.vault, hasher=deployment.hasher,
        resolver=deployment.resolver, clock=deployment.clock, shards=4, global_keys=frozenset(["openai", "local"]),
        keyless=frozenset(["local"]),
    )  # fmt: skip
    add_api(app, context)
    return app


@pytest.fixture
async def api(deployment: Deployment, aiohttp_client: Client) -> Api:
    await catalog(deployment)
    api = Api(await aiohttp_client(application(deployment)), deployment)
    api.platform = (await deployment.manager(None))[1]
    return api


@pytest.fixture
async def acme(api: Api) -> Tenant:
    return await tenant(api.deployment, "acme")


@pytest.fixture
async def rival(api: Api) -> Tenant:
    return await tenant(api.deployment, "rival")


async def tenant(deployment: Deployment, name: str) -> Tenant:
    workspace = await deployment.workspace(name)
    user = await deployment.member(workspace, f"ann@{name}.test", "member")
    key, secret = await deployment.key(workspace, user, name=f"{name}-key")
    _, owner = await deployment.manager(workspace, "owner")
    manager, _ = await deployment.manager(workspace, "viewer")
    variable = await deployment.variable(workspace, None, "openai", f"sk-proj-CANARY-{name}")
    return Tenant(workspace, owner, user, key.id, secret, manager.id, variable)


async def catalog(deployment: Deployment) -> None:
    """Two providers, two llms, one of them priced."""
    openai, mistral, mini, large = (deployment.id() for _ in range(4))
    route, other, version = (deployment.id() for _ in range(3))
    for id, name in ((openai, "openai"), (mistral, "mistral")):
        await deployment.run(
            "INSERT INTO providers (id, name, dialect, base_url, managed_by) VALUES ($1, $2, 'openai', $3, 'config')",
            id, name, f"https://{name}.test/v1",
        )  # fmt: skip
    for id, name in ((mini, "gpt-mini"), (large, "mistral-large")):
        await deployment.run(
            "INSERT INTO llms (id, name, context_window, managed_by) VALUES ($1, $2, 128000, 'config')", id, name
        )
    for id, llm, provider in ((route, mini, openai), (other, large, mistral)):
        await deployment.run(
            "INSERT INTO routes (id, llm_id, provider_id, upstream_model, position) VALUES ($1, $2, $3, 'm', 0)",
            id, llm, provider,
        )  # fmt: skip
    await deployment.run("INSERT INTO units VALUES ('input', 'token', '') ON CONFLICT DO NOTHING")
    await deployment.run(
        "INSERT INTO price_versions (id, route_id, effective_from, source, digest)"
        " VALUES ($1, $2, '2020-01-01', 'config', '')",
        version, route,
    )  # fmt: skip
    await deployment.run(
        "INSERT INTO price_items (id, version_id, unit, price_pusd) VALUES ($1, $2, 'input', 150000)",
        deployment.id(), version,
    )  # fmt: skip
