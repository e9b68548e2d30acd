"""`/usage/events` and `/usage/summary`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pricing.money import format_usd
from proxy.api.endpoint import Call, Endpoint, Read, listing, page_of
from proxy.api.prices import LinePriceObject, prices_of
from proxy.api.schema import (
    AgentId,
    AttemptId,
    ConversationId,
    KeyId,
    Listing,
    ListQuery,
    LlmName,
    ManagementKeyId,
    MessageId,
    Part,
    PriceItemId,
    ProviderName,
    RequestId,
    Text,
    Usd,
    UserId,
    VariableId,
    When,
    WorkspaceId,
)
from proxy.ledger.reading import store
from proxy.ledger.reading.store import CorrectionRow, EventFilter, EventRow
from proxy.ledger.reading.sums import store as sums_store
from proxy.ledger.reading.sums.store import MAX_ROWS, GroupBy, SumFilter, SumRow, Sums
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

KeySource = Literal["user", "workspace", "global"]
UsageSource = Literal["provider", "estimated", "none"]
Outcome = Literal["ok", "client_abort", "upstream_error", "abandoned"]
Pricing = Literal["priced", "unpriced"]
Since = Annotated[When | None, Field(alias="from", description="Inclusive; a day means its midnight in UTC.")]
Until = Annotated[When | None, Field(alias="to", description="Exclusive; a day means its midnight in UTC.")]


class LineObject(Part):
    """So many units of one kind, at one price."""

    unit: str
    quantity: int
    price_item_id: PriceItemId | None
    list_cost_usd: Usd
    charge_usd: Usd


class UsageEventObject(Part):
    """What one attempt consumed: its cost is the sum of its lines."""

    id: AttemptId
    object: Literal["usage_event"] = "usage_event"
    request_id: RequestId
    attempt_number: int
    occurred_at: datetime
    created_at: datetime
    workspace_id: WorkspaceId
    user_id: UserId
    virtual_key_id: KeyId
    agent_id: AgentId | None
    conversation_id: ConversationId | None
    message_id: MessageId | None
    end_user: str | None
    llm: str
    provider: str
    upstream_model: str
    surface: str
    stream: bool
    key_source: KeySource
    """Whose provider key was used."""
    provider_account: Literal["own", "ours"]
    """Whose bill at the provider."""
    user_variable_id: VariableId | None
    usage_source: UsageSource
    """How the quantities are known."""
    outcome: Outcome
    upstream_status: int | None
    error_code: str | None
    service_tier: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    usage_inconsistent: bool
    """The provider contradicted itself."""
    lines: list[LineObject]
    list_cost_usd: Usd
    charge_usd: Usd
    pricing: Pricing
    """`unpriced`: no price is known for a part of it; its cost is not zero but unknown."""
    processing: Literal["", "batch"]
    charge_kind: Literal["usage", "platform_fee", "none"]
    charge_bps: int
    """Each line's charge is its list cost × this / 10000, rounded half-even to 1e-12 USD."""
    charge_reason: str
    """Why nothing is charged, where `charge_kind` is `none`."""
    corrected: bool
    """Priced again since it was settled: what is said here is what counts now."""
    latency_ms: int | None
    first_token_ms: int | None
    overhead_ms: int | None
    upstream_request_id: str | None


class CorrectionSums(Part):
    list_cost_usd: Usd
    charge_usd: Usd
    pricing: Pricing


class CorrectionObject(Part):
    """What an attempt came to before and after it was priced again."""

    number: int
    reason: str
    actor_kind: Literal["management_key", "system"]
    actor_id: ManagementKeyId
    created_at: datetime
    before: CorrectionSums | None
    """Null: it corrected an abandoned attempt, which has been settled since."""
    after: CorrectionSums


class UsageEventDetail(UsageEventObject):
    """With the provider's own words, the prices that its lines follow from, and what was corrected."""

    raw_usage: str | None
    prices: list[LinePriceObject]
    """By hand: a line's list cost is max(quantity, minimum_units) × usd / per_units, rounded half-even to 1e-12 USD."""
    corrections: list[CorrectionObject]
    """The oldest first."""


class UsageEventList(Listing[UsageEventObject]):
    as_of: datetime | None
    """The ledger holds everything settled before this."""


class UsageEventQuery(ListQuery):
    after: AttemptId | None = None
    since: Since = None
    until: Until = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    virtual_key_id: KeyId | None = None
    request_id: RequestId | None = None
    llm: LlmName | None = None
    provider: ProviderName | None = None
    key_source: KeySource | None = None
    usage_source: UsageSource | None = None
    outcome: Outcome | None = None
    pricing: Pricing | None = None
    end_user: Text | None = None


class SumsObject(Part):
    requests: int
    errors: int
    unpriced_requests: int
    """Requests of which a part has no known price: above 0, the costs are a lower bound."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    list_cost_usd: Usd
    charge_usd: Usd


class SummaryRow(SumsObject):
    """One group. A field that was not grouped by is null."""

    object: Literal["usage_summary"] = "usage_summary"
    day: date | None
    hour: datetime | None
    workspace_id: WorkspaceId | None
    user_id: UserId | None
    virtual_key_id: KeyId | None
    llm: str | None
    provider: str | None
    key_source: KeySource | None


class Summary(Part):
    object: Literal["list"] = "list"
    data: list[SummaryRow]
    has_more: bool
    """More groups than fit: narrow the time or the filters."""
    first_id: None = None
    last_id: None = None
    total: SumsObject
    """Of everything that the filters let through."""
    as_of: datetime | None


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class SummaryQuery(Part):
    group_by: Annotated[
        list[GroupBy],
        BeforeValidator(_split),
        Field(min_length=1, max_length=8, description="One or more, with commas."),
    ]
    since: Since = None
    until: Until = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    virtual_key_id: KeyId | None = None
    llm: LlmName | None = None
    provider: ProviderName | None = None
    key_source: KeySource | None = None
    service_tier: Text | None = None


async def list_events(call: Call, db: Connection, query: UsageEventQuery) -> UsageEventList:
    workspace_id = call.reach(query.workspace_id)
    as_of = await store.as_of(db)
    wanted = EventFilter(
        workspace_id=workspace_id, since=query.since, until=query.until, user_id=query.user_id,
        virtual_key_id=query.virtual_key_id, request_id=query.request_id, llm=query.llm, provider=query.provider,
        key_source=query.key_source, usage_source=query.usage_source, outcome=query.outcome, pricing=query.pricing,
        end_user=query.end_user,
    )  # fmt: skip
    rows = await store.list_events(db, wanted, page_of(query, query.after))
    shown = listing(rows, query.limit, lambda row: UsageEventObject(**_event(row)))
    return UsageEventList(**shown, as_of=as_of)


async def get_event(call: Call, db: Connection, query: object) -> UsageEventDetail:
    row = await store.get_event(db, call.path["id"], workspace_id=call.own)
    if row is None:
        raise Refused(Reason.NOT_FOUND, "No such usage event. A new one takes a second to arrive.")
    corrections = [_correction(one) for one in await store.corrections_of(db, row)]
    prices = await prices_of(db, [item for item in row.price_item_ids if item is not None])
    return UsageEventDetail(**_event(row), raw_usage=row.raw_usage, prices=prices, corrections=corrections)


async def summarise(call: Call, db: Connection, query: SummaryQuery) -> Summary:
    for name, moment in (("from", query.since), ("to", query.until)):
        if moment is not None and (moment.minute or moment.second or moment.microsecond):
            raise Refused(Reason.BAD_VALUE, f"`{name}` must be on a whole hour: sums are kept by the hour.", param=name)
    as_of = await store.as_of(db)
    wanted = SumFilter(
        workspace_id=call.reach(query.workspace_id), since=query.since, until=query.until, user_id=query.user_id,
        virtual_key_id=query.virtual_key_id, llm=query.llm, provider=query.provider, key_source=query.key_source,
        service_tier=query.service_tier,
    )  # fmt: skip
    rows = await sums_store.summary(db, query.group_by, wanted)
    total = await sums_store.summary(db, (), wanted)
    return Summary(
        data=[_row(row) for row in rows[:MAX_ROWS]], has_more=len(rows) > MAX_ROWS,
        total=SumsObject(**show_sums(total[0].sums if total else sums_store.NOTHING)), as_of=as_of,
    )  # fmt: skip


def _correction(row: CorrectionRow) -> CorrectionObject:
    before = None
    if row.before_pricing is not None and row.before_list_pusd is not None and row.before_charge_pusd is not None:
        before = _money(row.before_list_pusd, row.before_charge_pusd, row.before_pricing)
    return CorrectionObject.model_validate(
        {
            "number": row.number,
            "reason": row.reason,
            "actor_kind": row.actor_kind,
            "actor_id": row.actor_id,
            "created_at": row.created_at,
            "before": before,
            "after": _money(row.list_pusd, row.charge_pusd, row.pricing),
        }
    )


def _money(list_pusd: int, charge_pusd: int, pricing: str) -> dict[str, str]:
    return {"list_cost_usd": format_usd(list_pusd), "charge_usd": format_usd(charge_pusd), "pricing": pricing}


def show_sums(sums: Sums) -> dict[str, Any]:
    fields = asdict(sums)
    fields["list_cost_usd"] = format_usd(fields.pop("list_pusd"))
    fields["charge_usd"] = format_usd(fields.pop("charge_pusd"))
    return fields


def _row(row: SumRow) -> SummaryRow:
    groups = {name: getattr(row, name) for name in sums_store.GROUPS}
    return SummaryRow(**groups, **show_sums(row.sums))


_RENAMED = {"attempt_id": "id", "recorded_at": "created_at"}
_AS_LINES = ("units", "quantities", "price_item_ids", "line_list_pusd", "line_charge_pusd")
_ELSEWHERE = frozenset([*_AS_LINES, "list_pusd", "charge_pusd", "raw_usage"])


def _event(row: EventRow) -> dict[str, Any]:
    fields = {_RENAMED.get(name, name): getattr(row, name) for name in EventRow.__slots__ if name not in _ELSEWHERE}
    lines = zip(*(getattr(row, name) for name in _AS_LINES), strict=True)
    return fields | {
        "lines": [
            LineObject(
                unit=unit, quantity=quantity, price_item_id=item, list_cost_usd=format_usd(list_pusd),
                charge_usd=format_usd(charge_pusd),
            )
            for unit, quantity, item, list_pusd, charge_pusd in lines
        ],
        "list_cost_usd": format_usd(row.list_pusd),
        "charge_usd": format_usd(row.charge_pusd),
    }  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (
    Read("/usage/events", "usage", "List usage events", list_events, UsageEventList, UsageEventQuery),
    Read("/usage/events/{id}", "usage", "Get a usage event", get_event, UsageEventDetail, ids={"id": "att"}),
    Read("/usage/summary", "usage", "Sum usage and cost", summarise, Summary, SummaryQuery),
)
