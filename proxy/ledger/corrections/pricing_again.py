"""What an attempt comes to under the terms of its moment as they are known now. Pure: the row and the terms, no more."""

from __future__ import annotations

from pricing.money import BIGINT_MAX
from pricing.price import PriceVersion, Unpriced
from pricing.rate import rate
from proxy.ledger.corrections.figures import Attempt, Figures
from proxy.ledger.corrections.terms.store import Terms
from proxy.ledger.corrections.usage_again import Again, usage_again
from proxy.providers.readers import reader_for
from proxy.providers.registry import READERS
from proxy.settlement.charge import Charge, charges, should_charge
from proxy.wire.ids import unix_ms_of

# Decided when it was settled, by what only the answer could tell.
_DECIDED = frozenset(["empty_answer", "void"])


def priced_again(attempt: Attempt, terms: Terms) -> Figures:
    """The row's own figures where it cannot be told any more what they were made of."""
    reader_name = terms.readers.get(attempt.provider, "")
    reader = reader_for(attempt.surface, reader_name) if reader_name in READERS else None
    again = usage_again(attempt, reader, terms.models.get)
    if again is None:
        return attempt.row
    usage, moment = again.usage, attempt.occurred_at
    price = terms.price((attempt.provider, attempt.upstream_model, attempt.llm), moment)

    def price_of(model: str) -> PriceVersion | Unpriced:
        return terms.price_of(attempt.provider, model, moment)

    rated = rate(usage, price, unix_ms_of(attempt.attempt_id) // 60_000 % 1440, price_of)
    kind, bps, reason = _charge(attempt, terms)
    charged = charges(bps, [line.list_pusd for line in rated.lines])
    input_tokens, cached_tokens, output_tokens, reasoning_tokens, inconsistent = _totals(attempt, again)
    return Figures(
        service_tier=attempt.row.service_tier,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens,
        usage_inconsistent=inconsistent,
        units=tuple(line.unit for line in rated.lines),
        quantities=tuple(line.quantity for line in rated.lines),
        price_item_ids=tuple(None if line.item is None else line.item.id for line in rated.lines),
        line_list_pusd=tuple(line.list_pusd for line in rated.lines),
        line_charge_pusd=tuple(charged),
        list_pusd=rated.list_pusd,
        charge_pusd=sum(charged),
        charge_kind=kind,
        charge_bps=bps,
        charge_reason=reason,
        pricing="priced" if rated.priced else "unpriced",
    )


def _charge(attempt: Attempt, terms: Terms) -> Charge:
    if attempt.row.charge_reason in _DECIDED:
        return Charge("none", 0, attempt.row.charge_reason)
    plan = terms.plan(attempt.workspace_id, attempt.llm, attempt.occurred_at)
    return should_charge(attempt.provider_account, plan, attempt.llm)


def _totals(attempt: Attempt, again: Again) -> tuple[int, int, int, int | None, bool]:
    row, usage = attempt.row, again.usage
    if not again.from_raw:
        return row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens, row.usage_inconsistent
    input_tokens, cached_tokens, output_tokens = usage.totals()
    reasoning = usage.reasoning_tokens
    if max(input_tokens, output_tokens, reasoning or 0) > BIGINT_MAX:  # as it was settled: a row must hold it
        return row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens, row.usage_inconsistent
    return input_tokens, cached_tokens, output_tokens, reasoning, usage.inconsistent
