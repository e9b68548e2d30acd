"""Heads and errors as the client gets them (pure)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw

from pricing.money import format_usd
from pricing.rate import Rated
from proxy.flow.candidates import Candidate
from proxy.outbound.response_headers import for_client
from proxy.outbound.sink import Broken, Headers
from proxy.wire.refusals import Reason, Refused

_top_level = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")


class Facts(NamedTuple):
    """What the gateway says of an attempt in `x-synapscale-*`. `of_way`: the lines that all answers by its way have."""

    request_id: bytes
    of_way: bytes
    own_key: bool
    number: int
    overhead_ms: int


def head_of_way(way: Candidate) -> bytes:
    return (
        f"x-synapscale-provider: {way.route.provider.name}\r\nx-synapscale-key-source: {way.key_source}\r\n"
        "cache-control: private, no-store\r\n"
    ).encode()


def head_for(facts: Facts, headers: Headers, cost_of: Rated | None = None) -> bytes:
    """Header lines: the provider's allow-listed ones and our own. The cost only where it is known before the body."""
    lines = b"%bx-request-id: %b\r\nx-synapscale-attempts: %d\r\nx-synapscale-overhead-ms: %d\r\n" % (
        facts.of_way, facts.request_id, facts.number, facts.overhead_ms,
    )  # fmt: skip
    for pair in for_client(headers, own_key=facts.own_key):
        lines += b"%b: %b\r\n" % pair
    if cost_of is not None and cost_of.priced:
        lines += b"x-synapscale-cost-usd: %b\r\n" % format_usd(cost_of.list_pusd).encode()
    return lines


def refusal_head(refusal: Refused, request_id: bytes) -> bytes:
    lines = b"content-type: application/json\r\nx-request-id: %b\r\ncache-control: private, no-store\r\n" % request_id
    return lines + "".join(f"{name}: {value}\r\n" for name, value in refusal.headers().items()).encode()


def is_text(body: bytes) -> bool:
    """Some compress without saying so."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def instead_of_unread(headers: Headers, provider: str, status: int) -> tuple[Headers, bytes]:
    """An error that is compressed or too large is not read, so nobody knows whether it names our account: it stays here."""
    kept = [pair for pair in headers if pair[0] not in (b"content-type", b"content-encoding")]
    refusal = Refused(
        Reason.UPSTREAM_BROKE,
        f"The provider {provider} answered {status} with a body that is not passed on: compressed, or too large.",
    )
    return [*kept, (b"content-type", b"application/json")], refusal.body()


def with_cost(body: bytes, rated: Rated) -> bytes:
    """`usage.cost` in USD, for a client that sent `usage: {"include": true}`; null where no price is known.

    `body`: an answer, or an event's data. Events of the Responses API have the answer, and so its usage, in `response`.
    """
    cost = Raw(format_usd(rated.list_pusd).encode() if rated.priced else b"null")
    try:
        top = _top_level.decode(body)
        response = top.get("response", _NULL)
        if bytes(response).startswith(b"{"):
            top["response"] = Raw(_with_usage_cost(_top_level.decode(response), cost))
            return msgspec.json.encode(top)
        return _with_usage_cost(top, cost)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _with_usage_cost(answer: dict[str, Raw], cost: Raw) -> bytes:
    usage = answer.get("usage", _NULL)
    fields = {} if bytes(usage) == b"null" else _top_level.decode(usage)
    answer["usage"] = Raw(msgspec.json.encode({**fields, "cost": cost}))
    return msgspec.json.encode(answer)


_BROKEN: dict[Broken, tuple[Reason, str]] = {
    Broken.UNREACHABLE: (Reason.UPSTREAM_UNREACHABLE, "cannot be reached"),
    Broken.UNTRUSTED: (Reason.UPSTREAM_UNREACHABLE, "shows a certificate that is not trusted"),
    Broken.FORBIDDEN: (Reason.UPSTREAM_UNREACHABLE, "has an address that must not be called"),
    Broken.OVERLOADED: (Reason.OVERLOADED, "has as many calls under way as this gateway allows"),
    Broken.TIMEOUT_CONNECT: (Reason.UPSTREAM_TIMEOUT, "did not accept a connection in time"),
    Broken.TIMEOUT_FIRST_BYTE: (Reason.UPSTREAM_TIMEOUT, "did not begin to answer in time"),
    Broken.TIMEOUT_IDLE: (Reason.UPSTREAM_TIMEOUT, "fell silent in the middle of its answer"),
    Broken.RESET: (Reason.UPSTREAM_BROKE, "cut the connection"),
    Broken.EARLY_CLOSE: (Reason.UPSTREAM_BROKE, "closed the connection before its answer was complete"),
    Broken.MALFORMED: (Reason.UPSTREAM_BROKE, "sent an answer that is not valid HTTP/1.1"),
}


def broken_refusal(provider: str, reason: Broken) -> Refused:
    """An attempt that broke: who, how, and whether trying again makes sense. Addresses are for the log."""
    kind, what = _BROKEN[reason]
    return Refused(
        kind,
        f"The provider {provider} {what}. Try again; if it stays, check the provider's status and its base_url.",
        retry_after_s=1 if kind is Reason.OVERLOADED else None,
    )


def truncated_refusal(provider: str) -> Refused:
    return Refused(
        Reason.UPSTREAM_BROKE,
        f"The provider {provider} ended its stream before it was complete. What came so far is not the whole answer.",
    )
