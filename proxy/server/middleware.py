"""Around every cold handler: request id, refusals in OpenAI's shape, headers that every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.server.paths import unknown_path
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


def make_middleware(clock: Clock, metrics: Metrics) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = to_wire("req", uuid7(clock.now_ms()))
        try:
            response = await handler(request)
        except Refused as refusal:
            response = refusal_response(refusal)
            metrics.add(metrics.refusals, str(refusal.reason.value.code))
        except web.HTTPNotFound:
            response = refusal_response(unknown_path(request.method, request.path))
        except web.HTTPMethodNotAllowed as exc:
            allowed = ", ".join(sorted(exc.allowed_methods))
            response = refusal_response(
                Refused(
                    Reason.METHOD_NOT_ALLOWED, f"{request.path} does not take {request.method}. Allowed: {allowed}."
                )
            )
            response.headers["Allow"] = allowed
        except web.HTTPRequestEntityTooLarge:
            response = refusal_response(
                Refused(Reason.TOO_LARGE, "The request body is larger than this endpoint takes.")
            )
        return response

    return middleware


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: no version in `Server`, nothing cached, always an id."""
    response.headers.popall("Server", None)
    response.headers["Server"] = "synapscale"
    response.headers.setdefault("Cache-Control", "private, no-store")
    response.headers.setdefault("x-request-id", request.get(REQUEST_ID) or to_wire("req", uuid7(0)))
