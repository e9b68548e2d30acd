"""Usage → the event of an attempt: what is announced before the first byte, and what is settled at the end."""

from __future__ import annotations

from copy import copy
from typing import Literal, TypeAlias
from uuid import UUID

from pricing.money import BIGINT_MAX
from pricing.price import PriceVersion, Unpriced
from pricing.rate import rate, tier_name
from pricing.usage import Usage
from proxy.flow.candidates import Candidate
from proxy.identity.principal import Principal
from proxy.settlement.charge import charge
from proxy.settlement.usage_event import UsageEvent
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import NIL

Outcome = Literal["ok", "client_abort", "upstream_error", "abandoned"]
Price: TypeAlias = PriceVersion | Unpriced
Source = Literal["provider", "estimated", "none"]

# Only the provider's own words are stored, and only this many of them.
RAW_USAGE_MAX = 8192


def prototype(principal: Principal, way: Candidate, llm: str, surface: str) -> UsageEvent:
    """What the announcements of a key's requests for an llm have in common."""
    route, own = way.route, way.own
    return UsageEvent(
        attempt_id=NIL,
        request_id=NIL,
        shard=principal.shard,
        workspace_id=principal.workspace_id,
        user_id=principal.user_id,
        virtual_key_id=principal.key_id,
        llm=llm,
        provider=route.provider.name,
        upstream_model=route.upstream_model,
        surface=surface,
        key_source=way.key_source,
        provider_account=way.account,
        user_variable_id=None if own is None else own.user_variable_id,
        usage_source="estimated",
        outcome="abandoned",
    )


def announced(
    common: UsageEvent, attempt_id: UUID, number: int, request: ClientRequest, prompt_tokens: int, price: Price
) -> UsageEvent:
    """The event that stands if nobody is left to settle: an estimate of the prompt, no output."""
    event = copy(common)
    event.attempt_id = attempt_id
    event.request_id = request.request_id
    event.attempt_number = number
    event.end_user = request.end_user
    event.stream = request.stream
    _consumed(event, Usage({"input": prompt_tokens}), price)
    return event


def settled(
    stub: UsageEvent, price: Price, *, usage: Usage, source: Source, outcome: Outcome, raw_usage: str | None = None
) -> UsageEvent:
    """The final event of an announced attempt; the caller adds times and the provider's words."""
    event = copy(stub)
    event.outcome = outcome
    event.usage_source = source
    event.raw_usage = raw_usage if raw_usage is None else raw_usage[:RAW_USAGE_MAX]
    _consumed(event, usage, price)
    return event


def _consumed(event: UsageEvent, usage: Usage, price: Price) -> None:
    rated = rate(usage, price)
    units: list[str] = []
    quantities: list[int] = []
    items: list[UUID | None] = []
    amounts: list[int] = []
    for unit, quantity, item, amount in rated.lines:
        units.append(unit)
        quantities.append(quantity)
        items.append(item)
        amounts.append(amount)
    event.units, event.quantities, event.price_item_ids, event.line_list_pusd = units, quantities, items, amounts
    event.list_pusd = rated.list_pusd
    event.pricing = "priced" if rated.priced else "unpriced"
    event.service_tier = "" if usage.service_tier is None else tier_name(usage.service_tier)
    totals = usage.totals()
    event.input_tokens, event.cached_tokens, event.output_tokens = totals
    event.reasoning_tokens = usage.reasoning_tokens
    if max(totals) > BIGINT_MAX or min(totals) < 0 or (usage.reasoning_tokens or 0) > BIGINT_MAX:
        # A provider's absurd count is unpriced by `rate`, and must not be a poisoned row.
        event.input_tokens, event.cached_tokens, event.output_tokens = (min(max(t, 0), BIGINT_MAX) for t in totals)
        event.reasoning_tokens = None
    event.usage_inconsistent = usage.inconsistent
    charge(event)
