"""SQL that reads `usage_events`, `usage_corrections`, `billing_events`, `dead_letters` and `ledger_positions`.

`workspace_id` None: all of them, for the platform only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from proxy.ledger.corrections.current import CURRENT, NEWEST
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record
from proxy.wire.ids import moment_of

QUERY_S = 30.0
EVER = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_STEP = timedelta(milliseconds=1)  # of the moment inside an attempt id

# The oldest shard decides: what all of them have written is older than this.
AS_OF = "SELECT min(as_of) FROM ledger_positions"

# As it was settled, and what a correction may have changed since.
_SETTLED = """
    e.attempt_id, e.request_id, e.attempt_number, e.occurred_at, e.recorded_at, e.workspace_id, e.user_id,
    e.virtual_key_id, e.agent_id, e.conversation_id, e.message_id, e.end_user, e.llm, e.provider, e.upstream_model,
    e.surface, e.stream, e.key_source, e.provider_account, e.user_variable_id, e.usage_source, e.outcome,
    e.upstream_status, e.error_code, e.processing, e.latency_ms, e.first_token_ms, e.overhead_ms,
    e.upstream_request_id, e.raw_usage, c.number IS NOT NULL AS corrected,
"""
# The bounds on occurred_at are never NULL: they prune partitions. The cursor is the attempt, whose moment is in its id.
# A page first, then its corrections: only who asks how events are priced looks for those of every event.
LIST_EVENTS = keyset(
    """
SELECT <event> FROM (
    SELECT * FROM usage_events e
    WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::uuid IS NULL OR workspace_id = $3)
      AND ($4::uuid IS NULL OR user_id = $4) AND ($5::uuid IS NULL OR virtual_key_id = $5)
      AND ($6::uuid IS NULL OR request_id = $6) AND ($7::text IS NULL OR llm = $7)
      AND ($8::text IS NULL OR provider = $8) AND ($9::text IS NULL OR key_source = $9)
      AND ($10::text IS NULL OR usage_source = $10) AND ($11::text IS NULL OR outcome = $11)
      AND ($12::text IS NULL OR $12 = coalesce((
          SELECT k.pricing FROM usage_corrections k
          WHERE k.workspace_id = e.workspace_id AND k.attempt_id = e.attempt_id AND k.row_recorded_at = e.recorded_at
          ORDER BY k.number DESC LIMIT 1), e.pricing))
      AND ($13::text IS NULL OR end_user = $13)
      AND ($14::uuid IS NULL OR (occurred_at, attempt_id) <beyond> ($15::timestamptz, $14))
    ORDER BY occurred_at <order>, attempt_id <order> LIMIT $16) e
<newest>
ORDER BY e.occurred_at <order>, e.attempt_id <order>
""".replace("<event>", _SETTLED + CURRENT).replace("<newest>", NEWEST)
)
GET_EVENT = """
SELECT <event> FROM usage_events e
<newest>
WHERE e.occurred_at = $1 AND e.attempt_id = $2 AND ($3::uuid IS NULL OR e.workspace_id = $3)
""".replace("<event>", _SETTLED + CURRENT).replace("<newest>", NEWEST)
# Before the first correction of a row stands the row; before those of a row that has changed since, nothing is known.
CORRECTIONS = """
SELECT k.number, k.reason, k.actor_kind, k.actor_id, k.created_at, k.pricing, k.list_pusd, k.charge_pusd,
       coalesce(b.pricing, e.pricing) AS before_pricing, coalesce(b.list_pusd, e.list_pusd) AS before_list_pusd,
       coalesce(b.charge_pusd, e.charge_pusd) AS before_charge_pusd
FROM usage_corrections k
LEFT JOIN usage_corrections b ON b.workspace_id = k.workspace_id AND b.attempt_id = k.attempt_id
    AND b.number = k.number - 1 AND b.row_recorded_at = k.row_recorded_at
LEFT JOIN usage_events e ON e.workspace_id = k.workspace_id AND e.attempt_id = k.attempt_id
    AND e.occurred_at = $3 AND e.recorded_at = k.row_recorded_at
WHERE k.workspace_id = $1 AND k.attempt_id = $2 ORDER BY k.number
"""
_BILLING = """
SELECT id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects, reason, actor_kind, actor_id,
       occurred_at, created_at
FROM billing_events
"""
LIST_BILLING = keyset(
    _BILLING
    + """
WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::uuid IS NULL OR workspace_id = $3)
  AND ($4::uuid IS NULL OR user_id = $4) AND ($5::uuid IS NULL OR virtual_key_id = $5)
  AND ($6::uuid IS NULL OR attempt_id = $6) AND ($7::text IS NULL OR kind = $7) AND ($8::uuid IS NULL OR id <beyond> $8)
ORDER BY id <order> LIMIT $9
"""
)
GET_BILLING = _BILLING + "WHERE id = $1"
DEAD_LETTERS = "SELECT count(*) FROM dead_letters"


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
    """None: any. `since` inclusive, `until` exclusive, both of the attempt; of a credit, when it was given."""

    workspace_id: UUID | None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    virtual_key_id: UUID | None = None
    attempt_id: UUID | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class BillingRow:
    """`user_id`, `virtual_key_id`, `attempt_id` None: a credit that no attempt caused."""

    id: UUID
    workspace_id: UUID
    user_id: UUID | None
    virtual_key_id: UUID | None
    attempt_id: UUID | None
    kind: str
    amount_pusd: int
    corrects: UUID | None
    reason: str
    actor_kind: str
    actor_id: UUID
    occurred_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """As it counts now; the lines are parallel lists. `corrected`: that differs from what was settled."""

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
    processing: str
    charge_kind: str
    charge_bps: int
    charge_reason: str
    corrected: bool
    latency_ms: int | None
    first_token_ms: int | None
    overhead_ms: int | None
    upstream_request_id: str | None
    raw_usage: str | None


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """`before_…` None: of a row that was abandoned then and has become final since."""

    number: int
    reason: str
    actor_kind: str
    actor_id: UUID
    created_at: datetime
    pricing: str
    list_pusd: int
    charge_pusd: int
    before_pricing: str | None
    before_list_pusd: int | None
    before_charge_pusd: int | None


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


async def corrections_of(db: Connection, event: EventRow) -> list[CorrectionRow]:
    """In their order."""
    rows = await db.fetch(CORRECTIONS, event.workspace_id, event.attempt_id, event.occurred_at, timeout=QUERY_S)
    return [CorrectionRow(**dict(row)) for row in rows]


async def list_billing(db: Connection, wanted: BillingFilter, page: Page) -> list[BillingRow]:
    """Ordered by entry, so in the order of writing."""
    rows = await db.fetch(
        LIST_BILLING.of(page), wanted.since or EVER, wanted.until or NEVER, wanted.workspace_id, wanted.user_id,
        wanted.virtual_key_id, wanted.attempt_id, wanted.kind, page.after, page.limit + 1, timeout=QUERY_S,
    )  # fmt: skip
    return [BillingRow(**dict(row)) for row in rows]


async def get_billing(db: Connection, id: UUID) -> BillingRow | None:
    row = await db.fetchrow(GET_BILLING, id, timeout=QUERY_S)
    return None if row is None else BillingRow(**dict(row))


async def dead_letters(db: Connection) -> int:
    """How many stream entries are in no bill."""
    count: int = await db.fetchval(DEAD_LETTERS, timeout=QUERY_S)
    return count


def _moment(attempt_id: UUID) -> datetime:
    """An id that somebody made up may name a year that datetime does not have."""
    try:
        return moment_of(attempt_id)
    except OverflowError:
        return NEVER


def _event(row: Record) -> EventRow:
    return EventRow(**dict(row))
