"""From the table of endpoints to aiohttp routes: authenticate, check the role, validate, call, answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import orjson
from aiohttp import web

from proxy.api import incoming
from proxy.api.context import API_CONTEXT, ApiContext
from proxy.api.endpoint import Call, Endpoint, HolderCall, Read, Stream, Write, render
from proxy.api.openapi import document
from proxy.api.streams import Seats, require_chunks, send
from proxy.api.table import ENDPOINTS
from proxy.audit import roles
from proxy.audit.actor import Actor
from proxy.audit.write import Idempotency
from proxy.identity.manager import authenticate
from proxy.storage.postgres import POSTGRES_AWAY, POSTGRES_BUSY, Connection
from proxy.wire.refusals import Reason, Refused

PREFIX = "/api/v1"
ACQUIRE_S = 5.0
CALL_S = 40.0
FIRST_PIECE_S = 300.0  # of a file: the rows of a whole day may have to be sorted
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_api(app: web.Application, context: ApiContext) -> None:
    """All endpoints of the management API on `app`. Refusals are raised: the server's middleware words them."""
    app[API_CONTEXT] = context
    seats = Seats()
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, PREFIX + endpoint.path, _handler(endpoint, seats))
    described = orjson.dumps(document(ENDPOINTS, PREFIX))

    async def openapi(request: web.Request) -> web.Response:
        return _response(200, described)

    app.router.add_route("GET", f"{PREFIX}/openapi.json", openapi)


def _handler(endpoint: Endpoint, seats: Seats) -> Handler:
    match endpoint:
        case Read(caller="holder"):
            return _holder_reads(endpoint)
        case Read():
            return _manager_reads(endpoint)
        case Write():
            return _manager_writes(endpoint)
        case Stream():
            return _manager_streams(endpoint, seats)


def _manager_reads(endpoint: Read) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        context = request.app[API_CONTEXT]
        token = incoming.token_of(request)
        async with at_the_store(), context.pool.acquire(timeout=ACQUIRE_S) as db:
            actor = await _actor(db, context, token)
            roles.require(actor, endpoint.verb, endpoint.resource)
            query = incoming.query_of(request, endpoint.query)
            call = Call(context, actor, incoming.path_ids(request, endpoint.ids))
            answer = await endpoint.handler(call, db, query)
        return _response(200, render(answer))

    return handle


def _holder_reads(endpoint: Read) -> Handler:
    """For a virtual key. Past the resolver's cache: Postgres is asked anyway, and a blocked key must end at once."""

    async def handle(request: web.Request) -> web.Response:
        context = request.app[API_CONTEXT]
        principal = await context.resolver.resolve_now(incoming.token_of(request))
        query = incoming.query_of(request, endpoint.query)
        async with at_the_store(), context.pool.acquire(timeout=ACQUIRE_S) as db:
            answer = await endpoint.handler(HolderCall(context, principal), db, query)
        return _response(200, render(answer))

    return handle


def _manager_writes(endpoint: Write) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        context = request.app[API_CONTEXT]
        token = incoming.token_of(request)
        async with at_the_store(), context.pool.acquire(timeout=ACQUIRE_S) as db:
            actor = await _actor(db, context, token)
        roles.require(actor, endpoint.verb, endpoint.resource)
        incoming.query_of(request, endpoint.query)
        ids = incoming.path_ids(request, endpoint.ids)
        body, raw = await incoming.body_of(request, endpoint.body, endpoint.max_body_bytes)
        idempotency = _idempotency(request, context, endpoint, raw)
        call = Call(context, actor, ids)
        async with at_the_store():
            answer = await context.writer.change(
                actor,
                verb=endpoint.verb,
                resource=endpoint.resource,
                workspace_id=ids.get("workspace_id"),
                idempotency=idempotency,
                work=lambda db: endpoint.handler(call, db, body),
            )
        response = _response(answer.status, answer.body)
        if answer.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    return handle


def _manager_streams(endpoint: Stream, seats: Seats) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        context = request.app[API_CONTEXT]
        token = incoming.token_of(request)
        require_chunks(request)
        async with at_the_store(), context.pool.acquire(timeout=ACQUIRE_S) as db:
            actor = await _actor(db, context, token)
        roles.require(actor, endpoint.verb, endpoint.resource)
        query = incoming.query_of(request, endpoint.query)
        call = Call(context, actor, incoming.path_ids(request, endpoint.ids))
        with seats.taken():
            async with at_the_store():
                download = await endpoint.handler(call, query)
            async with aclosing(download.pieces):
                async with at_the_store(FIRST_PIECE_S):  # while a refusal can still be said
                    first = await anext(download.pieces, b"")
                return await send(request, download, first)

    return handle


async def _actor(db: Connection, context: ApiContext, token: str) -> Actor:
    key = await authenticate(db, context.hasher, token, context.clock.now())
    return Actor(kind="management_key", id=key.id, workspace_id=key.workspace_id, role=key.role)


def _idempotency(request: web.Request, context: ApiContext, endpoint: Write, raw: bytes) -> Idempotency | None:
    """The same request: same method, path and JSON value, however it is spelled."""
    key = incoming.idempotency_key_of(request)
    if key is None:
        return None
    value = orjson.dumps(orjson.loads(raw or b"{}"), option=orjson.OPT_SORT_KEYS)
    return Idempotency(
        key, context.hasher.digest_bytes(b"\n".join([endpoint.method.encode(), request.path.encode(), value]))
    )


@asynccontextmanager
async def at_the_store(within_s: float = CALL_S) -> AsyncIterator[None]:
    """A bound on the whole, since BEGIN and COMMIT have none of their own, and errors of the store as refusals."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except POSTGRES_BUSY as error:
        raise Refused(
            Reason.STORE_AWAY,
            "Somebody else is changing the same thing. Nothing was changed here; try again.",
            retry_after_s=1,
        ) from error
    except POSTGRES_AWAY as error:
        raise Refused(
            Reason.STORE_AWAY,
            "The database is away. Try again shortly; a change repeated with the same Idempotency-Key is made once.",
            retry_after_s=1,
        ) from error


def _response(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")
