"""What surrounds cold handlers, on a real socket: refusals, CORS, access log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.server.access import AccessLog
from proxy.server.cors import Cors
from proxy.server.middleware import dress, make_middleware, request_id_of
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.refusals import Reason, Refused

PAGE = "https://app.example.com"
Client = TestClient[Any, Any]


async def found(request: web.Request) -> web.Response:
    return web.json_response({"id": request_id_of(request), "name": request.match_info["name"]})


async def refused(request: web.Request) -> web.Response:
    raise Refused(Reason.KEY_MISSING, "No key.")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application(middlewares=[make_middleware(Clock(), Metrics(), Cors([PAGE]), AccessLog(True))])
    app.on_response_prepare.append(dress)
    app.router.add_get("/v1/models/{name:.+}", found)
    app.router.add_post("/v1/refused", refused)
    app.router.add_get("/api/v1/things", refused)
    async with TestClient(TestServer(app)) as client:
        yield client


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [orjson.loads(record.getMessage()) for record in caplog.records if record.name == "proxy.server.access"]


async def test_a_page_asks_first(client: Client) -> None:
    asking = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with client.options("/v1/refused", headers=asking) as response:
        assert response.status == 204 and await response.read() == b""
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Access-Control-Allow-Headers"] == "authorization"
        assert response.headers["Vary"] == "Origin" and response.headers["x-request-id"].startswith("req_")
    async with client.options("/v1/refused", headers={**asking, "Origin": "https://evil.example"}) as response:
        assert response.status == 405 and "Access-Control-Allow-Origin" not in response.headers
    async with client.options("/api/v1/things", headers=asking) as response:
        assert response.status == 405 and "Access-Control-Allow-Origin" not in response.headers


async def test_a_page_reads_answers_and_refusals(client: Client) -> None:
    for method, path, status in (
        ("GET", "/v1/models/a/b", 200),
        ("POST", "/v1/refused", 401),
        ("GET", "/v1/x", 404),
        ("PUT", "/v1/refused", 405),
    ):
        async with client.request(method, path, headers={"Origin": PAGE}) as response:
            assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
            assert response.headers["Vary"] == "Origin"
    async with client.get("/api/v1/things", headers={"Origin": PAGE}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers and "Vary" not in response.headers


async def test_off_by_default() -> None:
    app = web.Application(middlewares=[make_middleware(Clock(), Metrics())])
    app.router.add_get("/v1/models/{name}", found)
    async with TestClient(TestServer(app)) as client, client.get("/v1/models/a", headers={"Origin": PAGE}) as response:
        assert response.status == 200
        assert not [name for name in response.headers if name.lower().startswith("access-control") or name == "Vary"]


async def test_a_line_per_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy.server.access")
    async with client.get(
        "/v1/models/canary-name?key=canary-query", headers={"Authorization": "Bearer canary-key"}
    ) as response:
        body = await response.read()
    await client.post("/v1/refused", data=b"canary-body")
    await client.get("/canary-path")
    await client.put("/v1/refused")
    first, *others = lines(caplog)
    duration = first.pop("duration_ms")
    assert isinstance(duration, float) and duration >= 0
    assert first == {
        "method": "GET", "route": "/v1/models/{name}", "status": 200, "request_id": response.headers["x-request-id"], "bytes": len(body),
    }  # fmt: skip
    assert [(line["route"], line["status"]) for line in others] == [
        ("/v1/refused", 401),
        ("(unknown)", 404),
        ("(unknown)", 405),
    ]
    assert "canary" not in caplog.text


async def test_no_line_by_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy.server.access")
    app = web.Application(middlewares=[make_middleware(Clock(), Metrics())])
    async with TestClient(TestServer(app)) as client:
        await client.get("/x")
    assert lines(caplog) == []


async def test_an_expectation_that_cannot_be_met(client: Client) -> None:
    async with client.post("/v1/refused", headers={"Expect": "canary"}, data=b"x") as response:
        body = await response.json()
        assert (response.status, body["error"]["code"], response.headers["Connection"]) == (417, "bad_request", "close")
        assert "canary" not in await response.text()


async def test_a_key_in_a_path_is_not_said_back(client: Client) -> None:
    for method, path in (("GET", "/v1/sk-syn-0123456789abcdef"), ("PUT", "/v1/models/sk-syn-0123456789abcdef")):
        async with client.request(method, path) as response:
            assert "sk-syn-0" not in await response.text() and response.status in (404, 405)
