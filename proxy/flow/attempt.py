"""One attempt: announce, send, pump, settle, and only then the end of the answer.

Whatever the way out, what was announced is settled: with what is known of its usage, or, where this code is cut short, as
`abandoned`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from pricing.rate import rate
from pricing.usage import Usage
from proxy.admission.bound import prompt_estimate_tokens
from proxy.flow.answer import (
    Facts,
    broken_refusal,
    error_event,
    head_for,
    instead_of_unread,
    truncated_refusal,
    with_cost,
)
from proxy.flow.events import Outcome, Source, announced, settled
from proxy.flow.upstreams import Outgoing, Upstreams
from proxy.flow.ways import Way
from proxy.holds.away import StoreAway
from proxy.holds.client import AdmitReply, Holds
from proxy.identity.principal import Principal
from proxy.metering.body_meter import BodyMeter, output_text
from proxy.metering.estimate import Estimator
from proxy.metering.stream_meter import StreamMeter
from proxy.outbound.response_headers import is_encoded, value_of
from proxy.outbound.sink import Headers
from proxy.outbound.ticker import Ticker
from proxy.relay.client_channel import ClientChannel
from proxy.relay.pump import PumpPolicy, pump
from proxy.relay.stream_end import (
    Answered,
    ClientLeft,
    Drained,
    EndedWithoutDone,
    Finished,
    PassedUnread,
    Progress,
    StreamEnd,
    UpstreamBroke,
)
from proxy.settlement.desk import Desk
from proxy.settlement.usage_event import UsageEvent
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import moment_of, to_wire, uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

# The provider itself may do better on another route; 4xx of the request stay what they are everywhere.
_OTHER_ROUTE = frozenset([408, 429, 500, 502, 503, 504, 529])
# A refused own key, under own_then_global only.
_OTHER_KEY = frozenset([401, 402, 403, 429])


class Stale(Exception):
    """What this process knows of the workspace or the catalog is behind: read again, then come back."""

    def __init__(self, reply: AdmitReply) -> None:
        super().__init__("stale")
        self.reply = reply


class Failed(NamedTuple):
    """Settled without an answer having begun: another way may be tried; else `deliver` says it to the client."""

    other_route: bool
    other_key: bool
    deliver: Callable[[], None]


class _Found(NamedTuple):
    """What an attempt is settled with."""

    usage: Usage
    source: Source
    outcome: Outcome
    raw_usage: str | None
    error_code: str | None


@dataclass(frozen=True, slots=True)
class Desks:
    """The objects of a gateway that an attempt passes through."""

    desk: Desk
    holds: Holds
    upstreams: Upstreams
    estimator: Estimator
    ticker: Ticker
    clock: Clock
    metrics: Metrics
    policy: PumpPolicy


class Attempt:
    """`run` once."""

    __slots__ = ("_channel", "_desks", "_facts", "_loop", "_meter", "_number", "_outgoing",
                 "_price", "_principal", "_request", "_started", "_stub", "_way")  # fmt: skip

    def __init__(
        self,
        desks: Desks,
        request: ClientRequest,
        principal: Principal,
        way: Way,
        channel: ClientChannel,
        started: float,
        number: int,
    ) -> None:
        self._desks = desks
        self._request = request
        self._principal = principal
        self._way = way
        self._channel = channel
        self._started = started
        self._number = number
        self._loop = asyncio.get_running_loop()

    async def run(self, global_epoch: int) -> Failed | None:
        """None: the client has its answer, or has left. Raises `Stale` and `Refused` before anything was sent."""
        desks, request, principal = self._desks, self._request, self._principal
        way = self._way
        outgoing = self._outgoing = desks.upstreams.outgoing(way.candidate, way.prepared, principal, request)
        now_ms = desks.clock.now_ms()
        attempt_id = uuid7(now_ms)
        price = self._price = way.price_at(now_ms, moment_of(attempt_id))
        stub = self._stub = announced(
            way.prototype, attempt_id, self._number, request, prompt_estimate_tokens(outgoing.body), price
        )
        scope = desks.holds.scope(principal.shard, principal.workspace_id)
        try:
            reply = await desks.desk.open(scope, stub, (principal.workspace_epoch, global_epoch))
        except StoreAway as away:
            raise store_away() from away
        if reply.kind != "held":
            raise Stale(reply)
        try:
            return await self._end(await self._pump(outgoing))
        finally:
            if attempt_id in desks.desk.in_flight:
                # Only a bug or the end of this process comes by here; the stub is what the sweeper would write too.
                desks.metrics.add(desks.metrics.bugs, "attempt_cut_short")
                desks.desk.settle(attempt_id, stub)

    async def _pump(self, outgoing: Outgoing) -> StreamEnd:
        overhead_ms = int((self._loop.time() - self._started) * 1000)
        way = self._way
        request_id = to_wire("req", self._request.request_id).encode()
        self._facts = Facts(request_id, way.head, way.candidate.own is not None, self._number, overhead_ms)
        self._meter = StreamMeter(
            way.prepared.reader,
            strip_usage_chunk=outgoing.strip_usage_chunk,
            clean_error=outgoing.clean,
            annotate=self._annotate if self._request.usage_include else None,
        )
        return await pump(
            outgoing.start, self._channel, self._meter, self._desks.policy, begin=self._begin, stream=self._request.stream,
            ticker=self._desks.ticker,
        )  # fmt: skip

    def _annotate(self, data: bytes, usage: Usage) -> bytes:
        return with_cost(data, rate(usage, self._price))

    def _begin(self, status: int, headers: Headers) -> Headers:
        return head_for(self._facts, headers)

    # ---- how it ended

    async def _end(self, end: StreamEnd) -> Failed | None:
        match end:
            case Answered(progress=progress, body=body):
                return await self._answered(progress, body)
            case Finished(progress=progress, release=release):
                await self._settle(progress, await self._of_stream("ok"))
                release()
            case EndedWithoutDone(progress=progress, release=release):
                await self._ended_without_done(progress, release)
            case PassedUnread(progress=progress, release=release, tail=tail):
                await self._settle(progress, await self._of_tail(tail))
                release()
            case ClientLeft():
                await self._client_left(end)
            case UpstreamBroke():
                return await self._broke(end)
            case _:
                assert_never(end)
        return None

    async def _answered(self, progress: Progress, body: bytes) -> Failed | None:
        status = progress.status or 502
        clean = self._outgoing.clean
        if 200 <= status < 300:
            found = await self._of_body(body, "ok")
            event = await self._settle(progress, found)
            if self._request.usage_include and found.outcome == "ok":
                body = self._annotate(body, found.usage)
            elif found.outcome != "ok" and clean is not None:
                body = clean(body)
            self._send(status, head_for(self._facts, progress.headers, event), body)
            return None
        await self._settle(progress, _Found(Usage(), "none", "upstream_error", None, f"http_{status}"))
        if status in (401, 403) and self._way.candidate.own is None:
            log.warning("the provider %s refuses the global key: HTTP %s", self._way.route.provider.name, status)
        headers = progress.headers
        if progress.oversized or (clean is not None and is_encoded(headers)):
            headers, body = instead_of_unread(headers, self._way.route.provider.name, status)
        elif clean is not None:
            body = clean(body)
        head = head_for(self._facts, headers)
        return Failed(status in _OTHER_ROUTE, status in _OTHER_KEY, lambda: self._send(status, head, body))

    async def _ended_without_done(self, progress: Progress, release: Callable[[], None]) -> None:
        meter = self._meter
        meter.finish()
        if meter.ended or meter.error_seen:
            await self._settle(progress, await self._of_stream("ok"))
            release()
            return
        await self._settle(progress, await self._of_stream("upstream_error", "truncated"))
        self._channel.finish(error_event(truncated_refusal(self._way.route.provider.name)))

    async def _client_left(self, end: ClientLeft) -> None:
        progress = end.progress
        if end.drained is Drained.NOT_DISPATCHED:
            self._desks.desk.void(self._stub.attempt_id)
        elif progress.status is None and end.drained is Drained.BROKE:
            await self._settle(progress, _Found(Usage(), "none", "upstream_error", None, "broke_unanswered"))
        elif progress.status is not None and progress.status >= 400:
            await self._settle(progress, _Found(Usage(), "none", "upstream_error", None, f"http_{progress.status}"))
        elif end.body is not None:
            await self._settle(progress, await self._of_body(end.body, "client_abort"))
        else:
            self._meter.finish()
            await self._settle(progress, await self._of_stream("client_abort"))

    async def _broke(self, end: UpstreamBroke) -> Failed | None:
        provider = self._way.route.provider.name
        log.warning("the provider %s broke: %s %s", provider, end.reason.value, end.detail)
        refusal = broken_refusal(provider, end.reason)
        progress = end.progress
        if not progress.head_sent:
            # A POST that was written and died unanswered may have been billed: this row says so, and it is not sent again
            # to the same route.
            await self._settle(progress, _Found(Usage(), "none", "upstream_error", None, end.reason.value))
            return Failed(True, False, lambda: self._refuse(refusal))
        self._meter.finish(drop_unfinished=True)
        await self._settle(progress, await self._of_stream("upstream_error", end.reason.value))
        if progress.framed:
            self._channel.finish(error_event(refusal))
        else:
            self._channel.abort()
        return None

    # ---- what was consumed

    async def _of_stream(self, outcome: Outcome, error_code: str | None = None) -> _Found:
        meter = self._meter
        if meter.error_seen and outcome == "ok":
            outcome, error_code = "upstream_error", "error_in_stream"
        if meter.decode_errors:
            self._desks.metrics.add(self._desks.metrics.bugs, "usage_unreadable", by=meter.decode_errors)
        if meter.usage is not None:
            rest = "" if outcome == "ok" else meter.output_text()
            if rest:
                said = await self._desks.estimator.count(rest, self._way.route.upstream_model)
                meter.usage.units["output"] = meter.usage.units.get("output", 0) + said
                return _Found(meter.usage, "estimated", outcome, meter.raw_usage, error_code)
            return _Found(meter.usage, "provider", outcome, meter.raw_usage, error_code)
        if outcome == "upstream_error" and not meter.saw_content:
            return _Found(Usage(), "none", outcome, None, error_code)
        return await self._estimate(meter.output_text(), outcome, error_code)

    async def _of_body(self, body: bytes, outcome: Outcome) -> _Found:
        meter = BodyMeter(self._way.prepared.reader)
        usage, raw_usage = meter.read(body)
        error_code = None
        if meter.error_seen:
            outcome, error_code = "upstream_error", "error_in_body"
        if meter.decode_errors:
            self._desks.metrics.add(self._desks.metrics.bugs, "usage_unreadable", by=meter.decode_errors)
        if usage is not None:
            return _Found(usage, "provider", outcome, raw_usage, error_code)
        if meter.error_seen:
            return _Found(Usage(), "none", outcome, None, error_code)
        return await self._estimate(output_text(body), outcome, error_code)

    async def _of_tail(self, tail: bytes) -> _Found:
        """A body too large to hold: providers put usage last."""
        at = tail.rfind(b'"usage"')
        usage, raw_usage = BodyMeter(self._way.prepared.reader).read(b"{" + tail[at:]) if at >= 0 else (None, None)
        if usage is not None:
            return _Found(usage, "provider", "ok", raw_usage, None)
        return await self._estimate("", "ok", "unread")

    async def _estimate(self, text: str, outcome: Outcome, error_code: str | None) -> _Found:
        usage = await self._desks.estimator.estimate_chat(self._outgoing.body, text, self._way.route.upstream_model)
        return _Found(usage, "estimated", outcome, None, error_code)

    # ---- settlement

    async def _settle(self, progress: Progress, found: _Found) -> UsageEvent:
        """Done when Redis or the spool has the event: only after this may the client see the end."""
        usage, source, outcome, raw_usage, error_code = found
        event = settled(self._stub, self._price, usage=usage, source=source, outcome=outcome, raw_usage=raw_usage)
        started = self._started
        event.upstream_status = progress.status
        event.error_code = error_code
        event.latency_ms = int((self._loop.time() - started) * 1000)
        event.overhead_ms = self._facts.overhead_ms
        if progress.first_piece_at is not None:
            event.first_token_ms = int((progress.first_piece_at - started) * 1000)
        event.upstream_request_id = _request_id(progress.headers)
        self._count(event)
        await self._desks.desk.settle(event.attempt_id, event)
        return event

    def _count(self, event: UsageEvent) -> None:
        metrics, provider = self._desks.metrics, event.provider
        metrics.add(metrics.attempts, provider, event.outcome)
        metrics.add(metrics.tokens, provider, "input", by=event.input_tokens)
        metrics.add(metrics.tokens, provider, "output", by=event.output_tokens)
        if event.pricing == "unpriced":
            metrics.add(metrics.unpriced, provider)
        if event.usage_source == "estimated":
            metrics.add(metrics.estimated, provider)

    def _send(self, status: int, head: Headers, body: bytes) -> None:
        self._channel.start(status, head, length=len(body))
        self._channel.finish(body)

    def _refuse(self, refusal: Refused) -> None:
        raise refusal


def _request_id(headers: Headers) -> str | None:
    for name in (b"x-request-id", b"request-id", b"apim-request-id"):
        value = value_of(headers, name)
        if value is not None:
            return value.decode("latin-1")[:200]
    return None


def store_away() -> Refused:
    return Refused(
        Reason.STORE_AWAY,
        "Usage cannot be recorded at the moment, so nothing was sent to a provider. Retry shortly.",
        retry_after_s=1,
    )
