"""`/health/live`, `/health/ready` (truthful) and `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from proxy.telemetry.metrics import Metrics

# Name of a check → None when it holds, else what is wrong.
Checks = Callable[[], Awaitable[Mapping[str, str | None]]]


def add_health(app: web.Application, metrics: Metrics, checks: Checks, version: str) -> None:
    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": version})

    async def ready(_: web.Request) -> web.Response:
        found = await checks()
        wrong = {name: what for name, what in found.items() if what is not None}
        body = {
            "status": "ready" if not wrong else "not_ready",
            "checks": {name: what or "ok" for name, what in found.items()},
        }
        return web.Response(body=orjson.dumps(body), status=503 if wrong else 200, content_type="application/json")

    async def prometheus(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def index(_: web.Request) -> web.Response:
        body = {
            "object": "gateway",
            "name": "SynapScale Gateway",
            "version": version,
            "openai": "/v1",
            "management": "/api/v1",
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app.router.add_get("/", index)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", prometheus)
