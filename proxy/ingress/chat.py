"""`POST /v1/chat/completions`, the hot path: from aiohttp's request to the flow, answers written to the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from aiohttp import HttpVersion11, web

from proxy.flow.answer import refusal_head
from proxy.flow.request import RequestFlow
from proxy.ingress.body import read_body
from proxy.ingress.head import Head
from proxy.server.channel import HttpChannel
from proxy.server.connection import ClientConnection, Limits
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.chat_body import read_chat_body
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import to_wire, uuid7
from proxy.wire.refusals import Reason, Refused

SURFACE = "chat"
PATH = "/v1/chat/completions"


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


class ChatIngress:
    """One per gateway. Everything that can go wrong before the answer's head leaves as a refusal in OpenAI's shape."""

    def __init__(
        self, flow: RequestFlow, limits: Limits, clock: Clock, metrics: Metrics, draining: Callable[[], bool]
    ) -> None:
        self._flow = flow
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._draining = draining
        self.in_flight = 0
        self._kept, self._closed = _Sent(True), _Sent(False)

    async def handle(self, request: web.BaseRequest, connection: ClientConnection) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        started = loop.time()
        request_id = uuid7(self._clock.now_ms())
        channel = HttpChannel(
            connection, http11=request.version >= HttpVersion11, keep_alive=request.keep_alive and not self._draining()
        )
        self.in_flight += 1
        try:
            if self.in_flight > self._limits.max_in_flight:
                raise Refused(
                    Reason.OVERLOADED,
                    "Too many requests are in flight on this gateway. Retry shortly.",
                    retry_after_s=1,
                )
            head = Head(request.raw_headers)
            # Before the body: a stranger's upload is not read.
            principal = await self._flow.authenticate(head.token)
            raw = await read_body(request, head, self._limits)
            await self._flow.run(self._read(raw, head, request_id), head.token, principal, channel, started)
            status = channel.status
        except Refused as refusal:
            status = refusal.status
            if not request.content.is_eof():
                channel.keep_alive = False  # an unread body must not be taken for the next request
            self._refuse(channel, refusal, request_id)
        except BaseException:
            # A bug, or the process stops: never a second head behind a first one.
            if channel.started:
                channel.abort()
            raise
        finally:
            self.in_flight -= 1
            channel.close_listener()
        self._metrics.add(self._metrics.requests, SURFACE, str(status))
        self._metrics.took(SURFACE, loop.time() - started)
        return self._kept if channel.keep_alive else self._closed

    def _read(self, raw: bytes, head: Head, request_id: UUID) -> ClientRequest:
        fields = read_chat_body(raw)
        return ClientRequest(
            request_id=request_id,
            surface=SURFACE,
            llm=fields.model,
            stream=fields.stream,
            raw=raw,
            include_usage=fields.include_usage,
            max_output=fields.max_output,
            n=fields.n,
            end_user=head.end_user or fields.user,
            service_tier=fields.service_tier,
            read_fields=fields.read_fields,
            model_span=fields.model_span,
            has_stream_options=fields.has_stream_options,
            usage_include=fields.usage_include,
            gateway_fields=fields.gateway_fields,
            forward_headers=head.forward,
        )

    def _refuse(self, channel: HttpChannel, refusal: Refused, request_id: UUID) -> None:
        self._metrics.add(self._metrics.refusals, str(refusal.reason.value.code))
        if channel.started:
            channel.abort()  # a length is out that nothing can fill any more
            return
        body = refusal.body()
        channel.start(refusal.status, refusal_head(refusal, to_wire("req", request_id).encode()), length=len(body))
        channel.finish(body)
