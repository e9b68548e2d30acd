"""A surface of `POST /v1/*`: from a request to the flow, answers written to the transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from aiohttp import HttpVersion11, web

from proxy.flow.answer import refusal_head
from proxy.flow.request import RequestFlow
from proxy.ingress.body import read_body
from proxy.ingress.head import Head
from proxy.server.access import AccessLog
from proxy.server.channel import HttpChannel
from proxy.server.connection import ClientConnection, Limits
from proxy.server.cors import Cors
from proxy.server.front import FrontConnection
from proxy.server.request_head import RawHeaders
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.body_fields import BodyFields
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)


class Surface(NamedTuple):
    """`read`: the fields of a body, and the body that is sent on (the client's, but for defaults). Raises `Refused`."""

    name: str
    path: str
    read: Callable[[bytes], tuple[BodyFields, bytes]]


class Load:
    """Requests in flight on this gateway, over all surfaces.

    `body_bytes`: of their bodies, from when they are waited for until the answer's end: another attempt may need them.
    `is_tight`: memory is short.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.body_bytes = 0
        self.is_tight = False


class _Sent(web.StreamResponse):
    """Tells aiohttp that the answer is already on its way and whether the connection stays."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self._keep = keep

    @property
    def keep_alive(self) -> bool | None:
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class SurfaceIngress:
    """One per surface of a gateway. Everything that can go wrong before the answer's head leaves as a refusal in OpenAI's shape.

    Two ways in: `handle` from aiohttp, and `begin` from a connection of the front.
    """

    def __init__(
        self, surface: Surface, flow: RequestFlow, load: Load, limits: Limits, clock: Clock, metrics: Metrics,
        draining: Callable[[], bool], cors: Cors, access: AccessLog,
    ) -> None:  # fmt: skip
        self.request_line = f"POST {surface.path} HTTP/1.1\r\n".encode()
        self._surface = surface
        self._load = load
        self._flow = flow
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._draining = draining
        self._cors = cors
        self._access = access
        self._loop = asyncio.get_running_loop()
        self._kept, self._closed = _Sent(True), _Sent(False)

    # ---- by the front

    def read_head(self, headers: RawHeaders) -> Head | None:
        if self._cors and any(name.lower() == b"origin" for name, _ in headers):
            return None  # a page's requests are not the plain ones
        try:
            head = Head(headers)
        except Refused:
            return None
        head.digest = self._flow.digest(head.token)
        return None if head.content_encoding not in (b"", b"identity") else head

    def knows(self, head: Head) -> bool:
        return self._flow.peek(head.digest) is not None

    def make_room(self, length: int) -> bool:
        load = self._load
        if load.body_bytes + length > self._limits.max_bodies_bytes:
            return False
        load.body_bytes += length
        return True

    def give_back(self, length: int) -> None:
        self._load.body_bytes -= length

    def begin(self, connection: FrontConnection, head: Head, body: bytes) -> None:
        answer = self._enter(connection, len(body))
        try:
            self._admit_one_more()
            principal = self._flow.peek(head.digest)
            if principal is None:
                self._flow.spawn(self._begin_slowly(answer, head, body), "who is calling")
                return
            if self._flow.may_tie(self._surface.name, body):
                self._flow.spawn(self._begin_slowly(answer, head, body), "what a request refers to")
                return
            request = self._read(body, head, answer.request_id)
            self._flow.start(request, head.token, principal, answer.channel, answer.started, answer.done)
        except Refused as refusal:
            answer.done(refusal)
        except Exception:
            log.exception("a request failed by a bug")
            answer.failed()

    def refuse(self, connection: FrontConnection, refusal: Refused) -> None:
        answer = self._enter(connection, 0)
        answer.channel.keep_alive = False  # what is left of the request must not be taken for the next one
        answer.done(refusal)

    def _enter(self, connection: FrontConnection, body_bytes: int) -> _Answer:
        load = self._load
        load.in_flight += 1
        load.body_bytes += body_bytes
        channel = HttpChannel(connection, http11=True, keep_alive=not (load.is_tight or self._draining()))
        return _Answer(self, connection, channel, uuid7(self._clock.now_ms()), self._loop.time(), body_bytes)

    async def _begin_slowly(self, answer: _Answer, head: Head, body: bytes) -> None:
        """Where a store has to be asked before the flow is."""
        try:
            principal = await self._flow.authenticate(head.token)
            request = self._read(body, head, answer.request_id)
            ties = await self._flow.tie(head.token, principal, self._surface.name, body)
            self._flow.start(request, head.token, principal, answer.channel, answer.started, answer.done, ties)
        except Refused as refusal:
            answer.done(refusal)
        except Exception:
            log.exception("a request failed by a bug")
            answer.failed()

    # ---- by aiohttp

    async def handle(self, request: web.BaseRequest, connection: ClientConnection) -> web.StreamResponse:
        started = self._loop.time()
        request_id = uuid7(self._clock.now_ms())
        load = self._load
        stays = request.keep_alive and not (load.is_tight or self._draining())
        channel = HttpChannel(connection, http11=request.version >= HttpVersion11, keep_alive=stays)
        if self._cors:
            channel.also = self._cors.lines(request.headers.get("Origin"))
        load.in_flight += 1
        body_bytes = 0
        try:
            self._admit_one_more()
            head = Head(request.raw_headers)
            # Before the body: a stranger's upload is not read.
            principal = await self._flow.authenticate(head.token)
            body_bytes = self._most_bytes(request, head)
            load.body_bytes += body_bytes
            self._admit_one_more()
            raw = await read_body(request, head, self._limits)
            load.body_bytes += len(raw) - body_bytes
            body_bytes = len(raw)
            asked = self._read(raw, head, request_id)
            ties = await self._flow.tie(head.token, principal, self._surface.name, raw)
            await self._flow.run(asked, head.token, principal, channel, started, ties)
        except Refused as refusal:
            if not request.content.is_eof():
                channel.keep_alive = False  # an unread body must not be taken for the next request
            self.send_refusal(channel, refusal, request_id)
        except BaseException:
            # A bug, or the process stops: never a second head behind a first one.
            if channel.started:
                channel.abort()
            raise
        finally:
            load.in_flight -= 1
            load.body_bytes -= body_bytes
            channel.close_listener()
        self._over(channel.status, started, request_id)
        return self._kept if channel.keep_alive else self._closed

    # ---- both

    def _admit_one_more(self) -> None:
        """Whoever asks is counted already. Raises `Refused`."""
        load, limits = self._load, self._limits
        if load.in_flight > limits.max_in_flight:
            raise _overloaded("Too many requests are in flight on this gateway.")
        if load.body_bytes > limits.max_bodies_bytes:
            raise _overloaded("The requests in flight on this gateway are too large together.")
        # Alone it is let through: memory that is not the requests' own would lock everybody out for ever.
        if load.is_tight and load.in_flight > 1:
            raise _overloaded("This gateway is short of memory.")

    def _most_bytes(self, request: web.BaseRequest, head: Head) -> int:
        """Of a body that is still to be read; what is too large is told so by whoever reads it."""
        most = self._limits.max_body_bytes
        if head.content_length:
            return min(int(head.content_length), most)
        return 0 if request.content.is_eof() else most

    def _read(self, raw: bytes, head: Head, request_id: UUID) -> ClientRequest:
        fields, raw = self._surface.read(raw)
        return ClientRequest(
            request_id, self._surface.name, fields.model, fields.stream, raw, fields.include_usage, fields.max_output, fields.n,
            head.end_user or fields.user, fields.service_tier, fields.read_fields, fields.model_span,
            fields.has_stream_options, fields.usage_include, fields.gateway_fields, head.forward,
        )  # fmt: skip

    def send_refusal(self, channel: HttpChannel, refusal: Refused, request_id: UUID) -> None:
        self._metrics.add(self._metrics.refusals, str(refusal.reason.value.code))
        if channel.started:
            channel.abort()  # a length is out that nothing can fill any more
            return
        channel.answer(refusal.status, refusal_head(refusal, b"req_%032x" % request_id.int), refusal.body())

    def left(self, answer: _Answer) -> None:
        """The request is over."""
        self._load.in_flight -= 1
        self._load.body_bytes -= answer.body_bytes
        self._over(answer.channel.status, answer.started, answer.request_id)

    def _over(self, status: int, started: float, request_id: UUID) -> None:
        seconds = self._loop.time() - started
        self._metrics.took(self._surface.name, status, seconds)
        if self._access.enabled:
            self._access.write(
                "POST", self._surface.path, status, seconds=seconds, request_id=f"req_{request_id.hex}", sent_bytes=None
            )


class _Answer:
    """A request of the front, until it is answered."""

    __slots__ = ("_connection", "_ingress", "body_bytes", "channel", "request_id", "started")

    def __init__(
        self, ingress: SurfaceIngress, connection: FrontConnection, channel: HttpChannel, request_id: UUID, started: float,
        body_bytes: int,
    ) -> None:  # fmt: skip
        self._ingress = ingress
        self._connection = connection
        self.channel = channel
        self.request_id = request_id
        self.started = started
        self.body_bytes = body_bytes

    def done(self, refusal: Refused | None) -> None:
        channel = self.channel
        if refusal is not None:
            self._ingress.send_refusal(channel, refusal, self.request_id)
        channel.close_listener()
        self._ingress.left(self)
        self._connection.answered(keep=channel.keep_alive)

    def failed(self) -> None:
        self.channel.keep_alive = False
        self.done(Refused(Reason.BUG, "Internal error. Please try again, and report the request id if it stays."))


def _overloaded(why: str) -> Refused:
    return Refused(Reason.OVERLOADED, f"{why} Retry shortly.", retry_after_s=1)
