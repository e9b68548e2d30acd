"""Around every cold handler: request id, refusals in OpenAI's shape, headers that every answer carries, CORS, access log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.server.access import AccessLog
from proxy.server.cors import Cors
from proxy.server.paths import shown, unknown_path
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.ids import to_wire, uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID = web.RequestKey("request_id", str)


def refusal_response(refusal: Refused) -> web.Response:
    return web.Response(
        status=refusal.status, body=refusal.body(), content_type="application/json", headers=refusal.headers()
    )


def request_id_of(request: web.Request) -> str:
    return request[REQUEST_ID]


def make_middleware(
    clock: Clock, metrics: Metrics, cors: Cors | None = None, access: AccessLog | None = None
) -> Middleware:
    pages = cors or Cors()
    log_of = access or AccessLog()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        started = loop.time()
        request_id = request[REQUEST_ID] = to_wire("req", uuid7(clock.now_ms()))
        preflight = pages.preflight(request.method, request.path, request.headers)
        if preflight is not None:
            response: web.StreamResponse = web.Response(status=204, headers=preflight)
        else:
            response = await _answer(request, handler, metrics)
            response.headers.update(pages.of(request.path, request.headers))
        log_of.write(
            request.method, _template(request), response.status, seconds=loop.time() - started, request_id=request_id,
            sent_bytes=response.content_length,
        )  # fmt: skip
        return response

    return middleware


async def _answer(request: web.Request, handler: Handler, metrics: Metrics) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        metrics.add(metrics.refusals, str(refusal.reason.value.code))
        return refusal_response(refusal)
    except web.HTTPNotFound:
        return refusal_response(unknown_path(request.method, request.path))
    except web.HTTPMethodNotAllowed as exc:
        allowed = ", ".join(sorted(exc.allowed_methods))
        response = refusal_response(
            Refused(
                Reason.METHOD_NOT_ALLOWED, f"{shown(request.path)} does not take {request.method}. Allowed: {allowed}."
            )
        )
        response.headers["Allow"] = allowed
        return response
    except web.HTTPRequestEntityTooLarge:
        return refusal_response(Refused(Reason.TOO_LARGE, "The request body is larger than this endpoint takes."))


def _template(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: no version in `Server`, nothing cached, always an id; no page of aiohttp's own."""
    if response.status == web.HTTPExpectationFailed.status_code and isinstance(response, web.Response):
        # aiohttp answers this one before any middleware, and repeats the header.
        refusal = Refused(Reason.BAD_HTTP, "The only expectation that can be met is `Expect: 100-continue`.")
        response.body = body = refusal.body()
        response.headers["Content-Length"] = str(len(body))  # that of aiohttp's page is there already
        response.content_type = "application/json"
        response.headers["Connection"] = "close"
        response.force_close()  # the body that the client held back must not be taken for its next request
    response.headers.popall("Server", None)
    response.headers["Server"] = "synapscale"
    response.headers.setdefault("Cache-Control", "private, no-store")
    response.headers.setdefault("x-request-id", request.get(REQUEST_ID) or to_wire("req", uuid7(0)))
