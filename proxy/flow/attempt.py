"""One attempt: announce, send, pump, settle, and only then the end of the answer.

Driven by callbacks, each step by the end of the one before it: no task, future or timer of its own. Whatever the way out,
what was announced is settled: with what is known of its usage, or, where this code fails, as `abandoned`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias, assert_never

from pricing.usage import Usage
from proxy.admission.bound import prompt_estimate_tokens
from proxy.flow.answer import (
    Facts,
    broken_refusal,
    head_for,
    instead_of_unread,
    is_text,
    refusal_head,
    truncated_refusal,
    with_cost,
)
from proxy.flow.events import Spent, announced, attempt_fields, settled
from proxy.flow.found import Found, Uncounted, of_body, of_stream, of_tail
from proxy.flow.gate import Spawn
from proxy.flow.outcomes import UNSENT, Sees, Verdict, verdict_of
from proxy.flow.upstreams import Upstreams
from proxy.flow.ways import Way
from proxy.holds.away import StoreAway
from proxy.holds.client import AdmitReply, Holds
from proxy.identity.principal import Principal
from proxy.metering.estimate import Estimator
from proxy.metering.meters import open_meter
from proxy.metering.stream_meter import StreamMeter
from proxy.outbound.response_headers import is_encoded
from proxy.outbound.sink import Headers
from proxy.outbound.ticker import Ticker
from proxy.providers.answer_parts import tier_name
from proxy.relay.client_channel import ClientChannel
from proxy.relay.pump import Pump, PumpPolicy
from proxy.relay.stream_end import Answered, ClientLeft, Finished, PassedUnread, StreamEnd, UpstreamBroke
from proxy.settlement.desk import Desk
from proxy.telemetry.clock import Clock
from proxy.telemetry.metrics import Metrics
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import moment_of, uuid7
from proxy.wire.refusals import Reason, Refused

log = logging.getLogger(__name__)

# The provider itself may do better on another route; 4xx of the request stay what they are everywhere.
_OTHER_ROUTE = frozenset([408, 429, 500, 502, 503, 504, 529])
# A refused own key, under own_then_global only.
_OTHER_KEY = frozenset([401, 402, 403, 429])
_REQUEST_IDS = frozenset([b"x-request-id", b"request-id", b"apim-request-id"])


class Failed(NamedTuple):
    """Settled without an answer having begun: another way may be tried; else `deliver` says it to the client."""

    other_route: bool
    other_key: bool
    deliver: Callable[[], None]


class Served(NamedTuple):
    """The client has its answer, or has left."""


class Stale(NamedTuple):
    """Nothing was sent: what this process knows of the workspace or the catalog is behind. Read again, then come back."""

    reply: AdmitReply


Ended: TypeAlias = Served | Failed | Stale | Refused
_SERVED = Served()


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
    """`begin` once; `ended` is called once, unless `begin` raises."""

    __slots__ = ("_attempt_id", "_body", "_cancelled", "_channel", "_desks", "_ended", "_facts", "_fields", "_held", "_leaves",
                 "_loop", "_meter", "_number", "_outgoing", "_progress", "_pump", "_rated", "_release", "_request", "_request_id",
                 "_shows_cost", "_spawn", "_started", "_stub", "_then", "_usage", "way")  # fmt: skip

    def __init__(
        self,
        desks: Desks,
        request: ClientRequest,
        request_id: bytes,
        way: Way,
        channel: ClientChannel,
        started: float,
        number: int,
        ended: Callable[[Ended], None],
        spawn: Spawn,
    ) -> None:
        self._desks = desks
        self._request = request
        self._request_id = request_id
        self.way = way
        self._channel = channel
        self._started = started
        self._number = number
        self._ended = ended
        self._spawn = spawn
        self._loop = desks.desk.loop
        self._held = False
        self._cancelled = False
        self._pump: Pump | None = None
        self._meter: StreamMeter | None = None

    def begin(self, principal: Principal, global_epoch: int) -> None:
        """Raises `Refused`: nothing was announced."""
        desks, request, way = self._desks, self._request, self.way
        self._leaves = principal.client_leaves
        outgoing = self._outgoing = desks.upstreams.outgoing(way.candidate, way.prepared, principal, request)
        now_ms = desks.clock.now_ms()
        attempt_id = self._attempt_id = uuid7(now_ms)
        in_force = now_ms < way.until_ms
        price = way.price if in_force else way.price_at(moment_of(attempt_id))
        fields = self._fields = attempt_fields(way.constant, price, attempt_id, self._number, request)
        prompt_tokens = prompt_estimate_tokens(outgoing.body)
        if in_force and way.announcement is not None:
            stub = way.announcement.written(fields.fixed, prompt_tokens)
        else:
            stub = announced(fields, prompt_tokens)
        self._stub = stub
        scope = desks.holds.scope(principal.shard, principal.workspace_id)
        try:
            desks.desk.announce(scope, attempt_id, stub, (principal.workspace_epoch, global_epoch), self._announced)
        except StoreAway as away:
            raise store_away() from away

    def cancel(self) -> None:
        """The process ends. What is in flight is settled by the stub, as the sweeper would; `ended` may still be called."""
        self._cancelled = True
        if self._pump is not None:
            self._pump.cancel()
        self._cut_short()

    def error_event(self, body: bytes) -> bytes:
        """An error in OpenAI's shape as the event that may end the stream so far; empty: there is none."""
        return b"" if self._meter is None else self._meter.error_event(body)

    def _announced(self, reply: AdmitReply | StoreAway) -> None:
        if isinstance(reply, StoreAway):
            log.info("an attempt was not announced: %s", reply)
            self._ended(store_away())
        elif reply.kind != "held":
            self._ended(Stale(reply))
        elif self._cancelled:
            self._desks.desk.void(self._attempt_id)
        else:
            self._held = True
            try:
                self._send()
            except Exception:
                log.exception("an attempt failed by a bug")
                self._failed()

    def _send(self) -> None:
        way, desks = self.way, self._desks
        overhead_ms = int((self._loop.time() - self._started) * 1000)
        self._facts = Facts(self._request_id, way.head, way.candidate.own is not None, self._number, overhead_ms)
        pump = self._pump = Pump(
            self._channel, self._make_meter, desks.policy, self._head, self._request.stream, desks.ticker, self._loop,
            self._pumped, self._leaves,
        )  # fmt: skip
        pump.start(self._outgoing.start)

    def _make_meter(self) -> StreamMeter:
        outgoing = self._outgoing
        request = self._request
        meter = self._meter = open_meter(
            request.surface, self.way.prepared.reader, strip_usage_chunk=outgoing.strip_usage_chunk,
            clean_error=outgoing.clean, annotate=self._annotate if request.usage_include else None, choices=request.n,
        )  # fmt: skip
        return meter

    def _annotate(self, data: bytes, usage: Usage) -> bytes:
        self._set_tier(usage)
        return with_cost(data, self._fields.rate(usage))

    def _set_tier(self, usage: Usage) -> None:
        if self.way.route.provider.tier_word == "requested":
            usage.service_tier = tier_name(self._request.service_tier)

    def _head(self, headers: Headers) -> bytes:
        return head_for(self._facts, headers)

    # ---- how it ended

    def _pumped(self, end: StreamEnd) -> None:
        self._pump = None  # the two hold each other
        self._progress = end.progress
        meter = self._meter
        try:
            if meter is not None and not isinstance(end, Finished):
                meter.finish(drop_unfinished=isinstance(end, UpstreamBroke))
            verdict = verdict_of(end, meter)
            if verdict.ending is UNSENT:
                self._held = False
                self._desks.desk.void(self._attempt_id)
                self._ended(_SERVED)
                return
            found = self._found(end, verdict)
            then = self._what_is_told(end, verdict, found)
            if found.uncounted is None:
                self._settle(found, then)
            else:
                self._spawn(self._count(found, found.uncounted, then), "estimate an answer")
        except Exception:
            log.exception("an attempt failed by a bug")
            self._failed()

    def _found(self, end: StreamEnd, verdict: Verdict) -> Found:
        reader = self.way.prepared.reader
        match end:
            case Answered(body=body):
                return of_body(verdict, reader, body, self._request.surface)
            case PassedUnread(tail=tail):
                return of_tail(verdict, reader, tail)
            case ClientLeft(body=body, tail=tail):
                if body is not None:
                    found = of_body(verdict, reader, body, self._request.surface)
                elif tail is not None:
                    found = of_tail(verdict, reader, tail)
                else:
                    found = of_stream(verdict, self._meter)
                return found._replace(void=self._leaves == "void")
            case _:
                return of_stream(verdict, self._meter)

    def _what_is_told(self, end: StreamEnd, verdict: Verdict, found: Found) -> Callable[[], None]:
        """What is done once the row is settled."""
        match verdict.sees:
            case Sees.NOBODY:
                self._release = _nothing
            case Sees.ANSWER if isinstance(end, Answered):
                clean = self._outgoing.clean
                good = found.outcome == "ok"
                self._body = end.body if good or clean is None else clean(end.body)
                self._shows_cost = self._request.usage_include and good
                return self._deliver
            case Sees.ANSWER:
                assert not isinstance(end, Answered | ClientLeft | UpstreamBroke)
                self._release = end.release
            case Sees.ERROR:
                return partial(self._ended, self._error(end))
            case Sees.EVENT:
                self._release = self._last_event(end)
            case _:
                assert_never(verdict.sees)
        return self._release_and_end

    def _release_and_end(self) -> None:
        self._release()
        self._ended(_SERVED)

    def _deliver(self) -> None:
        progress = self._progress
        head = head_for(self._facts, progress.headers, self._rated)
        body = self._annotate(self._body, self._usage) if self._shows_cost else self._body
        self._channel.answer(progress.status or 502, head, body)
        self._ended(_SERVED)

    def _error(self, end: StreamEnd) -> Failed:
        if isinstance(end, Answered):
            return self._refused(end)
        refusal = self._why(end)
        head, body = refusal_head(refusal, self._request_id), refusal.body()
        # A POST that was written and died unanswered may have been billed: its row says so, and it is not sent again to the
        # same route.
        return Failed(True, False, partial(self._channel.answer, refusal.status, head, body))

    def _refused(self, end: Answered) -> Failed:
        progress, body, clean = end.progress, end.body, self._outgoing.clean
        provider, status = self.way.route.provider.name, progress.status or 502
        if status in (401, 403) and self.way.candidate.own is None:
            log.warning("the provider %s refuses the global key: HTTP %s", provider, status)
        headers = progress.headers
        if progress.oversized or (clean is not None and (is_encoded(headers) or not is_text(body))):
            headers, body = instead_of_unread(headers, provider, status)
        elif clean is not None:
            body = clean(body)
        head = head_for(self._facts, headers)
        return Failed(status in _OTHER_ROUTE, status in _OTHER_KEY, partial(self._channel.answer, status, head, body))

    def _last_event(self, end: StreamEnd) -> Callable[[], None]:
        """An answer cut short never looks complete."""
        body = self._why(end).body()
        if self._progress.framed and self._meter is not None:
            return partial(self._channel.finish, self._meter.error_event(body))
        return self._channel.abort

    def _why(self, end: StreamEnd) -> Refused:
        provider = self.way.route.provider.name
        if isinstance(end, UpstreamBroke):
            log.warning("the provider %s broke: %s %s", provider, end.reason.value, end.detail)
            return broken_refusal(provider, end.reason)
        return truncated_refusal(provider)

    # ---- settlement

    async def _count(self, found: Found, uncounted: Uncounted, then: Callable[[], None]) -> None:
        text, reported, units = uncounted
        estimator, model, usage = self._desks.estimator, self.way.route.upstream_model, found.usage
        try:
            if reported:
                usage.units["output"] = usage.units.get("output", 0) + await estimator.count(text, model)
            else:
                usage = await estimator.estimate(self._request.surface, self._outgoing.body, text, model)
            usage.units.update(units)
            self._settle(found._replace(usage=usage), then)
        except Exception:
            log.exception("an attempt failed by a bug")
            self._failed()

    def _settle(self, found: Found, then: Callable[[], None]) -> None:
        """`then` when Redis or the spool has the event: only after this may the client see the end."""
        if not self._held:
            return  # cut short while it was counted
        usage, source, outcome, raw_usage, error_code, unreadable, finished, void, _ = found
        self._usage = usage
        self._set_tier(usage)
        fields, progress, started = self._fields, self._progress, self._started
        rated = self._rated = fields.rate(usage)
        first_at = progress.first_piece_at
        event = settled(
            fields,
            Spent(
                usage, rated, source, outcome, progress.status, int((self._loop.time() - started) * 1000),
                self._facts.overhead_ms, None if first_at is None else int((first_at - started) * 1000), raw_usage,
                error_code, _request_id(progress.headers), finished, void,
            ),
        )  # fmt: skip
        metrics = self._desks.metrics
        metrics.attempt(self.way.route.provider.name, outcome, usage, rated.priced, source)
        if unreadable:
            metrics.add(metrics.bugs, "usage_unreadable", by=unreadable)
        self._held = False
        self._then = then
        self._desks.desk.settle(self._attempt_id, event, self._settled)

    def _settled(self) -> None:
        then, self._then = self._then, _nothing
        try:
            then()
        except Exception:
            log.exception("an attempt failed by a bug")
            self._failed()

    def _cut_short(self) -> None:
        if self._held:
            self._held = False
            if self._attempt_id in self._desks.desk.in_flight:
                self._desks.desk.settle(self._attempt_id, self._stub, _nothing)

    def _failed(self) -> None:
        """Settled as the sweeper would; whoever hears of the end tells the client."""
        self._desks.metrics.add(self._desks.metrics.bugs, "attempt_cut_short")
        if self._pump is not None:
            self._pump.cancel()
        self._cut_short()
        self._ended(
            Refused(Reason.BUG, "Internal error. Please try again, and report the request id if it stays.")
        )


def _nothing() -> None:
    return None


def _request_id(headers: Headers) -> str | None:
    for name, value in headers:
        if name in _REQUEST_IDS:
            return value.decode("latin-1")[:200]
    return None


def store_away() -> Refused:
    return Refused(
        Reason.STORE_AWAY,
        "Usage cannot be recorded at the moment, so nothing was sent to a provider. Retry shortly.",
        retry_after_s=1,
    )
