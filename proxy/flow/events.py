"""Usage → the event of an attempt: what is announced before the first byte, and what is settled at the end.

Events are written as JSON text around what is constant of a way (a tenth of the time of a struct); their fields are those
of `UsageEvent`, as a test proves by decoding them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from pricing.money import BIGINT_MAX, divide_half_even
from pricing.price import PriceVersion, Unpriced
from pricing.rate import Line, Rated, no_price_of, rate, tier_name
from pricing.usage import Usage
from proxy.flow.candidates import Candidate
from proxy.identity.principal import Principal
from proxy.settlement.charge import AT_LIST, LIST_BPS, Charge, charges, is_empty, terms_of
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import unix_ms_of

Outcome = Literal["ok", "client_abort", "upstream_error", "abandoned"]
Price: TypeAlias = PriceVersion | Unpriced
Source = Literal["provider", "estimated", "none"]

# Only the provider's own words are stored, and only this many of them.
RAW_USAGE_MAX = 8192

# Times any prompt that a body can hold, and any markup, it stays within a bigint.
_PLAIN_MOST_PUSD = BIGINT_MAX >> 37
_json = msgspec.json.Encoder().encode


class Billed(NamedTuple):
    """A charge, as its events have it: `members` is empty where `UsageEvent`'s defaults say the same."""

    bps: int
    members: bytes


class Billing(NamedTuple):
    """`Terms`, written once for all events of a way."""

    answer: Billed
    empty: Billed
    void: Billed


# What another model at the same provider cost when an attempt began.
PriceThen: TypeAlias = Callable[[UUID, str], Price]


def no_price_then(_attempt_id: UUID, model: str) -> Price:
    return no_price_of(model)


class Constant(NamedTuple):
    """What the events of a key's requests for an llm have in common. `members`: JSON, each behind a comma."""

    members: bytes
    terms: Billing
    surface: str
    price_then: PriceThen


def constant_fields(
    principal: Principal, way: Candidate, llm: str, surface: str, price_then: PriceThen = no_price_then
) -> Constant:
    route, own = way.route, way.own
    fields: dict[str, object] = {
        "shard": principal.shard,
        "workspace_id": principal.workspace_id,
        "user_id": principal.user_id,
        "virtual_key_id": principal.key_id,
        "llm": llm,
        "provider": route.provider.name,
        "upstream_model": route.upstream_model,
        "surface": surface,
        "key_source": way.key_source,
        "provider_account": way.account,
    }
    if own is not None:
        fields["user_variable_id"] = own.user_variable_id
    terms = terms_of(way.account, principal.plan, llm, surface)
    return Constant(b"," + _json(fields)[1:-1], Billing(*map(_billed, terms)), surface, price_then)


class AttemptFields(NamedTuple):
    """`fixed`: the members that announcement and final event of an attempt share, from the opening brace on.

    `minute` of the UTC day in which the attempt began.
    """

    fixed: bytes
    of_way: Constant
    price: Price
    minute: int
    attempt_id: UUID

    def rate(self, usage: Usage) -> Rated:
        if usage.parts:
            return rate(usage, self.price, self.minute, partial(self.of_way.price_then, self.attempt_id))
        return rate(usage, self.price, self.minute)


class Spent(NamedTuple):
    """How an attempt ended. Times in ms; `rated` is what its fields rate `usage` at."""

    usage: Usage
    rated: Rated
    source: Source
    outcome: Outcome
    upstream_status: int | None
    latency_ms: int
    overhead_ms: int
    first_token_ms: int | None
    raw_usage: str | None
    error_code: str | None
    upstream_request_id: str | None
    finished: bool = True  # the provider said that its answer is complete
    void: bool = False  # the client left, and its workspace pays nothing then


def attempt_fields(
    constant: Constant, price: Price, attempt_id: UUID, number: int, request: ClientRequest
) -> AttemptFields:
    more = b""
    if request.stream:
        more = b',"stream":true'
    if number > 1:
        more += b',"attempt_number":%d' % number
    if request.end_user is not None:
        more += b',"end_user":%b' % _json(request.end_user)
    fixed = b'{"attempt_id":"%032x","request_id":"%032x"%b%b' % (
        attempt_id.int, request.request_id.int, constant.members, more,
    )  # fmt: skip
    return AttemptFields(fixed, constant, price, unix_ms_of(attempt_id) // 60_000 % 1440, attempt_id)


def announced(fields: AttemptFields, prompt_tokens: int) -> bytes:
    """The event that stands if nobody is left to settle: an estimate of the prompt, no output."""
    usage = Usage({"input": prompt_tokens})
    consumed = _consumed(usage, fields.rate(usage), fields.of_way.terms.answer)
    return b'%b,"usage_source":"estimated","outcome":"abandoned"%b}' % (fields.fixed, consumed)


class PlainAnnouncement(NamedTuple):
    """`announced` at a price per input token that does not depend on anything: one figure, one product."""

    text: bytes
    price_pusd: int
    bps: int

    def written(self, fixed: bytes, prompt_tokens: int) -> bytes:
        cost = prompt_tokens * self.price_pusd
        owed = cost if self.bps == LIST_BPS else divide_half_even(cost * self.bps, LIST_BPS)
        return self.text % (fixed, prompt_tokens, cost, owed, prompt_tokens, cost, owed)


def plain_announcement(price: Price, terms: Billing) -> PlainAnnouncement | None:
    item = None if isinstance(price, Unpriced) or price.plain is None else price.plain.get("input")
    if item is None or item.per_units != 1 or item.price_pusd > _PLAIN_MOST_PUSD:
        return None
    billed = terms.answer
    text = (
        b'%%b,"usage_source":"estimated","outcome":"abandoned","units":["input"],"price_item_ids":["%032x"],'
        b'"quantities":[%%d],"line_list_pusd":[%%d],"line_charge_pusd":[%%d],"input_tokens":%%d,"output_tokens":0,'
        b'"list_pusd":%%d,"charge_pusd":%%d%b}' % (item.id.int, billed.members)
    )
    return PlainAnnouncement(text, item.price_pusd, billed.bps)


def settled(fields: AttemptFields, spent: Spent) -> bytes:
    """The final event of an announced attempt."""
    rest = _consumed(spent.usage, spent.rated, _billing(fields, spent))
    if spent.upstream_status is not None:
        rest += b',"upstream_status":%d' % spent.upstream_status
    if spent.first_token_ms is not None:
        rest += b',"first_token_ms":%d' % spent.first_token_ms
    if spent.raw_usage is not None:
        rest += b',"raw_usage":%b' % _json(spent.raw_usage[:RAW_USAGE_MAX])
    if spent.error_code is not None:
        rest += b',"error_code":%b' % _json(spent.error_code)
    if spent.upstream_request_id is not None:
        rest += b',"upstream_request_id":%b' % _json(spent.upstream_request_id)
    return b'%b,"usage_source":"%b","outcome":"%b","latency_ms":%d,"overhead_ms":%d%b}' % (
        fields.fixed, spent.source.encode(), spent.outcome.encode(), spent.latency_ms, spent.overhead_ms, rest,
    )  # fmt: skip


def _billing(fields: AttemptFields, spent: Spent) -> Billed:
    of_way = fields.of_way
    terms = of_way.terms
    if spent.void:
        return terms.void
    if spent.finished or not spent.rated.lines:
        return terms.answer
    empty = is_empty(of_way.surface, outcome=spent.outcome, output_tokens=spent.usage.output_tokens)
    return terms.empty if empty else terms.answer


def _billed(charge: Charge) -> Billed:
    text = b""
    if charge != AT_LIST:
        text = b',"charge_kind":"%b","charge_bps":%d' % (charge.kind.encode(), charge.bps)
    if charge.reason:
        text += b',"charge_reason":"%b"' % charge.reason.encode()
    return Billed(charge.bps, text)


def _beyond(rated: Rated) -> Rated:
    """What `rate` makes of an amount that is none."""
    lines = [Line(unit, quantity, None, 0) for unit, quantity, _, _ in rated.lines]
    return Rated(lines, 0, False, "a charge is out of range")


def _consumed(usage: Usage, rated: Rated, billed: Billed) -> bytes:
    units: list[bytes] = []
    items: list[bytes] = []
    quantities: list[int] = []
    amounts: list[int] = []
    for unit, quantity, item, amount in rated.lines:
        units.append(b'"%b"' % unit.encode())
        items.append(b"null" if item is None else b'"%032x"' % item.id.int)
        quantities.append(quantity)
        amounts.append(amount)
    charged = charges(billed.bps, amounts)
    owed = sum(charged)
    if owed > BIGINT_MAX:  # a markup on an absurd amount
        return _consumed(usage, _beyond(rated), billed)
    # A list of integers looks the same in Python and in JSON.
    text = b',"units":[%b],"price_item_ids":[%b],"quantities":%a,"line_list_pusd":%a,"line_charge_pusd":%a' % (
        b",".join(units), b",".join(items), quantities, amounts, charged,
    )  # fmt: skip
    input_tokens, cached_tokens, output_tokens = usage.totals()
    reasoning = usage.reasoning_tokens
    if not (0 <= cached_tokens <= input_tokens <= BIGINT_MAX and 0 <= output_tokens <= BIGINT_MAX) or (
        reasoning is not None and reasoning > BIGINT_MAX
    ):
        # A provider's absurd count is unpriced by `rate`, and must not be a poisoned row.
        input_tokens, cached_tokens, output_tokens = map(_clamped, (input_tokens, cached_tokens, output_tokens))
        reasoning = None
    text += b',"input_tokens":%d,"output_tokens":%d,"list_pusd":%d,"charge_pusd":%d' % (
        input_tokens, output_tokens, rated.list_pusd, owed,
    )  # fmt: skip
    text += billed.members
    if cached_tokens:
        text += b',"cached_tokens":%d' % cached_tokens
    if reasoning is not None:
        text += b',"reasoning_tokens":%d' % reasoning
    if not rated.priced:
        text += b',"pricing":"unpriced"'
    if usage.service_tier is not None and (tier := tier_name(usage.service_tier)):
        text += b',"service_tier":%b' % _json(tier)
    if usage.processing:
        text += b',"processing":%b' % _json(usage.processing)
    if usage.inconsistent:
        text += b',"usage_inconsistent":true'
    return text


def _clamped(tokens: int) -> int:
    return min(max(tokens, 0), BIGINT_MAX)
