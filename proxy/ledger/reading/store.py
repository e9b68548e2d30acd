"""SQL that reads `usage_events`, `billing_events` and `ledger_positions`.

`workspace_id` None: all of them, for the platform only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record
from proxy.wire.ids import moment_of

QUERY_S = 30.0
EVER = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_STEP = timedelta(milliseconds=1)  # of the moment inside an attempt id

# The oldest shard decides: what all of them have written is older than this.
AS_OF = "SELECT min(as_of) FROM ledger_positions"

_COLUMNS = """
    attempt_id, request_id, attempt_number, occurred_at, recorded_at, workspace_id, user_id, virtual_key_id, agent_id,
    conversation_id, message_id, end_user, llm, provider, upstream_model, surface, stream, key_source, provider_account,
    user_variable_id, usage_source, outcome, upstream_status, error_code, service_tier, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, usage_inconsistent, units, quantities, price_item_ids, line_list_pusd,
    line_charge_pusd, list_pusd, charge_pusd, pricing, latency_ms, first_token_ms, overhead_ms, upstream_request_id,
    raw_usage
"""
# The bounds on occurred_at are never NULL: they prune partitions. The cursor is the attempt, whose moment is in its id.
LIST_EVENTS = keyset(
    "SELECT"
    + _COLUMNS
    + """FROM usage_events
WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::uuid IS NULL OR workspace_id = $3)
  AND ($4::uuid IS NULL OR user_id = $4) AND ($5::uuid IS NULL OR virtual_key_id = $5)
  AND ($6::uuid IS NULL OR request_id = $6) AND ($7::text IS NULL OR llm = $7) AND ($8::text IS NULL OR provider = $8)
  AND ($9::text IS NULL OR key_source = $9) AND ($10::text IS NULL OR usage_source = $10)
  AND ($11::text IS NULL OR outcome = $11) AND ($12::text IS NULL OR pricing = $12)
  AND ($13::text IS NULL OR end_user = $13)
  AND ($14::uuid IS NULL OR (occurred_at, attempt_id) <beyond> ($15::timestamptz, $14))
ORDER BY occurred_at <order>, attempt_id <order> LIMIT $16
"""
)
GET_EVENT = (
    "SELECT"
    + _COLUMNS
    + "FROM usage_events WHERE occurred_at = $1 AND attempt_id = $2 AND ($3::uuid IS NULL OR workspace_id = $3)"
)
LIST_BILLING = keyset("""
SELECT id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects, reason, occurred_at,
       created_at
FROM billing_events
WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::uuid IS NULL OR workspace_id = $3)
  AND ($4::uuid IS NULL OR user_id = $4) AND ($5::uuid IS NULL OR virtual_key_id = $5)
  AND ($6::uuid IS NULL OR attempt_id = $6) AND ($7::text IS NULL OR kind = $7) AND ($8::uuid IS NULL OR id <beyond> $8)
ORDER BY id <order> LIMIT $9
""")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """None: any. `since` inclusive, `until` exclusive."""

    workspace_id: UUID | None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    virtual_key_id: UUID | None = None
    request_id: UUID | None = None
    llm: str | None = None
    provider: str | None = None
    key_source: str | None = None
    usage_source: str | None = None
    outcome: str | None = None
    pricing: str | None = None
    end_user: str | None = None


@dataclass(frozen=True, slots=True)
class BillingFilter:
    """None: any. `since` inclusive, `until` exclusive, both of the attempt."""

    workspace_id: UUID | None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    virtual_key_id: UUID | None = None
    attempt_id: UUID | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class BillingRow:
    id: UUID
    workspace_id: UUID
    user_id: UUID
    virtual_key_id: UUID
    attempt_id: UUID
    kind: str
    amount_pusd: int
    corrects: UUID | None
    reason: str
    occurred_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """As in the table; the lines are parallel lists."""

    attempt_id: UUID
    request_id: UUID
    attempt_number: int
    occurred_at: datetime
    recorded_at: datetime
    workspace_id: UUID
    user_id: UUID
    virtual_key_id: UUID
    agent_id: UUID | None
    conversation_id: UUID | None
    message_id: UUID | None
    end_user: str | None
    llm: str
    provider: str
    upstream_model: str
    surface: str
    stream: bool
    key_source: str
    provider_account: str
    user_variable_id: UUID | None
    usage_source: str
    outcome: str
    upstream_status: int | None
    error_code: str | None
    service_tier: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    usage_inconsistent: bool
    units: Sequence[str]
    quantities: Sequence[int]
    price_item_ids: Sequence[UUID | None]
    line_list_pusd: Sequence[int]
    line_charge_pusd: Sequence[int]
    list_pusd: int
    charge_pusd: int
    pricing: str
    latency_ms: int | None
    first_token_ms: int | None
    overhead_ms: int | None
    upstream_request_id: str | None
    raw_usage: str | None


async def as_of(db: Connection) -> datetime | None:
    """The ledger holds everything settled before this. None: it has not written yet. Read it before the rows."""
    moment: datetime | None = await db.fetchval(AS_OF, timeout=QUERY_S)
    return moment


async def list_events(db: Connection, wanted: EventFilter, page: Page) -> list[EventRow]:
    """Ordered by the moment of the attempt."""
    since, until = wanted.since or EVER, wanted.until or NEVER
    cursor = None if page.after is None else _moment(page.after)
    if cursor is not None and page.descending:
        until = min(until, cursor + _STEP)
    elif cursor is not None:
        since = max(since, cursor)
    rows = await db.fetch(
        LIST_EVENTS.of(page), since, until, wanted.workspace_id, wanted.user_id, wanted.virtual_key_id,
        wanted.request_id, wanted.llm, wanted.provider, wanted.key_source, wanted.usage_source, wanted.outcome,
        wanted.pricing, wanted.end_user, page.after, cursor, page.limit + 1, timeout=QUERY_S,
    )  # fmt: skip
    return [_event(row) for row in rows]


async def get_event(db: Connection, attempt_id: UUID, *, workspace_id: UUID | None) -> EventRow | None:
    row = await db.fetchrow(GET_EVENT, _moment(attempt_id), attempt_id, workspace_id, timeout=QUERY_S)
    return None if row is None else _event(row)


async def list_billing(db: Connection, wanted: BillingFilter, page: Page) -> list[BillingRow]:
    """Ordered by entry, so in the order of writing."""
    rows = await db.fetch(
        LIST_BILLING.of(page), wanted.since or EVER, wanted.until or NEVER, wanted.workspace_id, wanted.user_id,
        wanted.virtual_key_id, wanted.attempt_id, wanted.kind, page.after, page.limit + 1, timeout=QUERY_S,
    )  # fmt: skip
    return [BillingRow(**dict(row)) for row in rows]


def _moment(attempt_id: UUID) -> datetime:
    """An id that somebody made up may name a year that datetime does not have."""
    try:
        return moment_of(attempt_id)
    except OverflowError:
        return NEVER


def _event(row: Record) -> EventRow:
    return EventRow(**dict(row))
