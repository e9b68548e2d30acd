"""Events are written as text: decoded, they are what the table's fields say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.rate import rate
from pricing.units import UNITS
from pricing.usage import Part, Usage
from proxy.catalog.route import Provider, Route
from proxy.flow.candidates import Candidate
from proxy.flow.events import (
    AttemptFields,
    Price,
    Spent,
    announced,
    attempt_fields,
    constant_fields,
    plain_announcement,
    settled,
)
from proxy.identity.plan import Plan
from proxy.identity.principal import OwnCredential, Principal
from proxy.settlement.charge import Charge, charges, should_charge
from proxy.settlement.usage_event import UsageEvent, decode
from proxy.wire.client_request import ClientRequest
from proxy.wire.ids import uuid7

PRINCIPAL = Principal(uuid4(), "key", uuid4(), "ws", uuid4(), 5, 1, "own_else_global", None, None)
OWN = OwnCredential(uuid4(), "user", "p", b"", None)
# Whatever a client or a provider writes.
texts = st.text(max_size=20)
counts = st.integers(0, 2**45)


@st.composite
def price_of(draw: st.DrawFn) -> Price:
    if draw(st.booleans()) and draw(st.booleans()):
        return Unpriced("none")
    items = [
        PriceItem(uuid4(), unit, draw(st.integers(0, 10**9)), draw(st.sampled_from([1, 1, 1000])),
                  draw(st.sampled_from(["", "", "flex"])), draw(st.sampled_from([0, 0, 1000])))
        for unit in draw(st.lists(st.sampled_from(["input", "output", "cache_read", "input_audio"]), unique=True))
    ]  # fmt: skip
    return PriceVersion(uuid4(), datetime(1970, 1, 1, tzinfo=UTC), None, "test", tuple(items))


usages = st.builds(
    Usage,
    units=st.dictionaries(st.sampled_from(sorted(UNITS)), counts, max_size=5),
    reasoning_tokens=st.none() | counts,
    inconsistent=st.booleans(),
    service_tier=st.none() | st.sampled_from(["default", "flex", 'odd"\\']),
    processing=st.sampled_from(["", "batch"]),
)


plans = st.builds(
    Plan, markup_bps=st.sampled_from([0, 0, 1_250, -10_000, 1_000_000]), platform_fee_bps=st.sampled_from([0, 500, 1]),
    internal=st.booleans(), empty_answer_free=st.booleans(),
)  # fmt: skip


def fields_of(
    request: ClientRequest, number: int, price: Price, *, own: bool, llm: str, plan: Plan = PRINCIPAL.plan
) -> AttemptFields:
    route = Route(uuid4(), Provider(uuid4(), "p", "openai", "https://p/v1"), "up/stream", ())
    way = Candidate(route, OWN, "user", "own") if own else Candidate(route, None, "global", "ours")
    constant = constant_fields(replace(PRINCIPAL, plan=plan), way, llm, "chat")
    return attempt_fields(constant, price, uuid7(1), number, request)


def request_of(llm: str, *, stream: bool, end_user: str | None) -> ClientRequest:
    return ClientRequest(uuid4(), "chat", llm, stream, b"", end_user=end_user)


def check_consumed(event: UsageEvent, usage: Usage, price: Price, charge: Charge) -> None:
    rated = rate(usage, price)
    assert event.units == [line.unit for line in rated.lines]
    assert event.quantities == [line.quantity for line in rated.lines]
    assert event.price_item_ids == [None if line.item is None else line.item.id for line in rated.lines]
    assert event.line_list_pusd == [line.list_pusd for line in rated.lines]
    assert event.list_pusd == rated.list_pusd
    assert (event.charge_kind, event.charge_bps, event.charge_reason) == charge
    assert event.line_charge_pusd == charges(charge.bps, event.line_list_pusd)
    assert event.charge_pusd == sum(event.line_charge_pusd)
    assert event.pricing == ("priced" if rated.priced else "unpriced")
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == usage.totals()


@given(
    usages, price_of(), st.booleans(), st.booleans(), st.integers(1, 9), texts, st.none() | texts, st.none() | texts, plans
)
def test_a_settled_event_reads_as_what_was_spent(
    usage: Usage, price: Price, own: bool, stream: bool, number: int, llm: str, end_user: str | None, words: str | None,
    plan: Plan,
) -> None:  # fmt: skip
    request = request_of(llm, stream=stream, end_user=end_user)
    spent = Spent(usage, rate(usage, price), "provider", "client_abort", 200, 12, 3, 7, words, words, words)
    event = decode(settled(fields_of(request, number, price, own=own, llm=llm, plan=plan), spent))
    check_consumed(event, usage, price, should_charge("own" if own else "ours", plan, llm))
    assert (event.request_id, event.attempt_number, event.stream) == (request.request_id, number, stream)
    assert (event.llm, event.end_user, event.raw_usage, event.error_code) == (llm, end_user, words, words)
    assert (event.upstream_request_id, event.upstream_status) == (words, 200)
    assert (event.latency_ms, event.overhead_ms, event.first_token_ms) == (12, 3, 7)
    assert (event.workspace_id, event.user_id, event.virtual_key_id, event.shard) == (
        PRINCIPAL.workspace_id, PRINCIPAL.user_id, PRINCIPAL.key_id, 5)  # fmt: skip
    assert (event.provider, event.upstream_model, event.surface) == ("p", "up/stream", "chat")
    assert (event.key_source, event.provider_account, event.user_variable_id) == (
        ("user", "own", OWN.user_variable_id) if own else ("global", "ours", None))  # fmt: skip
    assert (event.usage_source, event.outcome) == ("provider", "client_abort")
    assert event.reasoning_tokens == usage.reasoning_tokens
    assert event.usage_inconsistent == usage.inconsistent
    assert event.processing == usage.processing
    assert event.service_tier == {None: "", "default": ""}.get(usage.service_tier, usage.service_tier)


@given(st.integers(0, 2**24), price_of(), st.booleans(), plans)
def test_an_announcement_reads_as_an_estimate_of_the_prompt(tokens: int, price: Price, own: bool, plan: Plan) -> None:
    request = request_of("llm", stream=False, end_user=None)
    fields = fields_of(request, 1, price, own=own, llm="llm", plan=plan)
    event = decode(announced(fields, tokens))
    check_consumed(event, Usage({"input": tokens}), price, should_charge("own" if own else "ours", plan, "llm"))
    assert (event.usage_source, event.outcome, event.latency_ms) == ("estimated", "abandoned", None)
    plain = plain_announcement(price, fields.of_way.terms)
    if plain is not None and tokens:
        assert decode(plain.written(fields.fixed, tokens)) == event


def test_an_absurd_count_is_clamped_and_not_a_poisoned_row() -> None:
    usage = Usage({"input": 2**70, "output": 1}, reasoning_tokens=2**80)
    fields = fields_of(request_of("llm", stream=False, end_user=None), 1, Unpriced("none"), own=False, llm="llm")
    event = decode(settled(fields, Spent(usage, rate(usage, fields.price), "provider", "ok", 200, 1, 1, None, None, None, None)))
    assert (event.input_tokens, event.output_tokens, event.reasoning_tokens) == (2**63 - 1, 1, None)
    assert event.pricing == "unpriced"


def spent_on(usage: Usage, price: Price, **facts: Any) -> Spent:
    return Spent(usage, rate(usage, price), "provider", facts.pop("outcome", "ok"), 200, 1, 1, None, None, None, None, **facts)


PRICE = PriceVersion(uuid4(), datetime(1970, 1, 1, tzinfo=UTC), None, "test", (
    PriceItem(uuid4(), "input", 3), PriceItem(uuid4(), "output", 7)))  # fmt: skip
PROMPT, NOTHING = Usage({"input": 10, "output": 0}), Usage()


@pytest.mark.parametrize(
    ("spent", "kind", "reason", "charge_pusd"),
    [
        (spent_on(PROMPT, PRICE, finished=True), "usage", "", 60),
        (spent_on(PROMPT, PRICE, finished=False), "none", "empty_answer", 0),
        (spent_on(PROMPT, PRICE, finished=False, outcome="upstream_error"), "none", "empty_answer", 0),
        (spent_on(PROMPT, PRICE, finished=False, outcome="client_abort"), "usage", "", 60),
        (spent_on(PROMPT, PRICE, finished=False, outcome="client_abort", void=True), "none", "void", 0),
        (spent_on(Usage({"input": 10, "output": 1}), PRICE, finished=False), "usage", "", 74),
        # Nothing was consumed: there is nothing to be waived.
        (spent_on(NOTHING, PRICE, finished=False, outcome="upstream_error"), "usage", "", 0),
    ],
)
def test_an_ending_decides_what_is_charged(spent: Spent, kind: str, reason: str, charge_pusd: int) -> None:
    request = request_of("llm", stream=False, end_user=None)
    fields = fields_of(request, 1, PRICE, own=False, llm="llm", plan=Plan(markup_bps=10_000))
    event = decode(settled(fields, spent))
    assert (event.charge_kind, event.charge_reason, event.charge_pusd) == (kind, reason, charge_pusd)
    assert event.list_pusd == spent.rated.list_pusd


def test_a_markup_on_an_absurd_amount_leaves_it_unpriced() -> None:
    usage = Usage({"input": 2**62})
    price = replace(PRICE, items=(PriceItem(uuid4(), "input", 1),))
    fields = fields_of(
        request_of("llm", stream=False, end_user=None), 1, price, own=False, llm="llm", plan=Plan(markup_bps=10_000)
    )
    event = decode(settled(fields, spent_on(usage, price)))
    assert (event.pricing, event.quantities, event.list_pusd, event.charge_pusd) == ("unpriced", [2**62], 0, 0)


def test_what_another_model_consumed_has_the_price_of_when_the_attempt_began() -> None:
    asked: list[tuple[UUID, str]] = []

    def price_then(attempt_id: UUID, model: str) -> Price:
        asked.append((attempt_id, model))
        return PriceVersion(uuid4(), datetime(1970, 1, 1, tzinfo=UTC), None, "test", (PriceItem(uuid4(), "input", 5),))

    way = Candidate(Route(uuid4(), Provider(uuid4(), "p", "openai", "https://p/v1"), "m", ()), None, "global", "ours")
    constant = constant_fields(PRINCIPAL, way, "m", "chat", price_then)
    attempt_id = uuid7(1)
    fields = attempt_fields(constant, PRICE, attempt_id, 1, request_of("m", stream=False, end_user=None))
    rated = fields.rate(Usage({"input": 2}, parts=(Part("helper", {"input": 3}),)))
    assert (rated.list_pusd, asked) == (2 * 3 + 3 * 5, [(attempt_id, "helper")])
