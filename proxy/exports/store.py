"""SQL of `exports`, and the cursors that files are read through.

Cursors are declared in SQL and fetched from: asyncpg's own would leave a named statement behind on the server connection
that pgbouncer lends out next. They live in the caller's transaction, which is one snapshot and reads only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from proxy.exports.filter import Filter
from proxy.ledger.corrections.current import CURRENT, NEWEST
from proxy.ledger.partitions import store as partitions
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection, Record

QUERY_S = 10.0
FETCH_S = 300.0  # the first of a day sorts the day
BATCH_ROWS = 500
EVER = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)

Batches = Callable[[Connection, Filter], AsyncIterator[Sequence[Record]]]

_USAGE_EVENTS = f"""
SELECT e.attempt_id, e.request_id, e.attempt_number, e.occurred_at, e.recorded_at, e.workspace_id, e.user_id,
       e.virtual_key_id, e.agent_id, e.conversation_id, e.message_id, e.end_user, e.llm, e.provider, e.upstream_model,
       e.surface, e.stream, e.key_source, e.provider_account, e.user_variable_id, e.usage_source, e.outcome,
       e.upstream_status, e.error_code, e.processing, e.latency_ms, e.first_token_ms, e.overhead_ms,
       e.upstream_request_id, coalesce(c.number, 0) AS correction, {CURRENT}
FROM usage_events e {NEWEST}
WHERE e.occurred_at >= $1 AND e.occurred_at < $2 AND ($3::uuid IS NULL OR e.workspace_id = $3)
  AND ($4::uuid IS NULL OR e.user_id = $4) AND ($5::uuid IS NULL OR e.virtual_key_id = $5)
  AND ($6::text IS NULL OR e.llm = $6) AND ($7::text IS NULL OR e.provider = $7)
  AND ($8::text IS NULL OR e.key_source = $8)
ORDER BY e.occurred_at, e.attempt_id
"""  # noqa: S608

# An entry has the llm, the provider and the key of the attempt that caused it; one that none caused has none.
_BILLING_EVENTS = """
SELECT b.id, b.workspace_id, b.user_id, b.virtual_key_id, b.attempt_id, b.kind, b.amount_pusd, b.corrects, b.reason,
       b.actor_kind, b.actor_id, b.occurred_at, b.created_at
FROM billing_events b
WHERE b.occurred_at >= $1 AND b.occurred_at < $2 AND ($3::uuid IS NULL OR b.workspace_id = $3)
  AND ($4::uuid IS NULL OR b.user_id = $4) AND ($5::uuid IS NULL OR b.virtual_key_id = $5)
  AND (($6::text IS NULL AND $7::text IS NULL AND $8::text IS NULL) OR EXISTS (
      SELECT FROM usage_events e
      WHERE e.workspace_id = b.workspace_id AND e.attempt_id = b.attempt_id
        AND e.occurred_at = 'epoch'::timestamptz + ('x' || left(replace(b.attempt_id::text, '-', ''), 12))::bit(48)::bigint
                            * interval '1 millisecond'
        AND ($6::text IS NULL OR e.llm = $6) AND ($7::text IS NULL OR e.provider = $7)
        AND ($8::text IS NULL OR e.key_source = $8)))
ORDER BY b.id
"""

_DAILY = """
SELECT day, workspace_id, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit, quantity,
       list_pusd, charge_pusd
FROM usage_daily
WHERE day >= $1 AND day < $2 AND ($3::uuid IS NULL OR workspace_id = $3) AND ($4::uuid IS NULL OR user_id = $4)
  AND ($5::uuid IS NULL OR virtual_key_id = $5) AND ($6::text IS NULL OR llm = $6)
  AND ($7::text IS NULL OR provider = $7) AND ($8::text IS NULL OR key_source = $8)
  AND (quantity <> 0 OR list_pusd <> 0 OR charge_pusd <> 0)
ORDER BY workspace_id, day, user_id, virtual_key_id, agent_id, llm, provider, key_source, service_tier, unit
"""

_DECLARE = "DECLARE export NO SCROLL CURSOR FOR"
_FETCH = f"FETCH FORWARD {BATCH_ROWS} FROM export"
_CLOSE = "CLOSE export"
# A reader that takes nothing is cut off by the server long before this.
_BOUNDS = """
SELECT set_config('statement_timeout', '300s', true), set_config('idle_in_transaction_session_timeout', '300s', true)
"""

INSERT = "INSERT INTO exports (id, workspace_id, actor_kind, actor_id, kind, created_at) VALUES ($1, $2, $3, $4, $5, $6)"
FINISH = "UPDATE exports SET manifest = $2, finished_at = $3 WHERE id = $1 AND finished_at IS NULL"
_COLUMNS = "id, workspace_id, actor_kind, actor_id, kind, manifest, created_at, finished_at"
GET = f"SELECT {_COLUMNS} FROM exports WHERE id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)"  # noqa: S608
LIST = keyset(
    f"SELECT {_COLUMNS} FROM exports "  # noqa: S608
    """
WHERE ($1::uuid IS NULL OR workspace_id = $1) AND ($2::text IS NULL OR kind = $2) AND ($3::uuid IS NULL OR id <beyond> $3)
ORDER BY id <order> LIMIT $4
"""
)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """`manifest`: JSON text; None while it is being sent, and for ever where it broke off."""

    id: UUID
    workspace_id: UUID | None
    actor_kind: str
    actor_id: UUID
    kind: str
    manifest: str | None
    created_at: datetime
    finished_at: datetime | None


async def set_bounds(db: Connection) -> None:
    """For this transaction."""
    await db.execute(_BOUNDS, timeout=QUERY_S)


async def usage_events(db: Connection, wanted: Filter) -> AsyncIterator[Sequence[Record]]:
    """By the moment of the attempt. Day by day, so that a sort is of one day and the first rows come soon."""
    since, until = wanted.since or EVER, wanted.until or NEVER
    for day in sorted(await partitions.existing(db)):
        start = datetime.combine(day, time(0), UTC)
        if start < until and start + _DAY > since:
            async for rows in _fetched(db, _USAGE_EVENTS, wanted, max(since, start), min(until, start + _DAY)):
                yield rows


async def billing_events(db: Connection, wanted: Filter) -> AsyncIterator[Sequence[Record]]:
    """In the order of writing."""
    async for rows in _fetched(db, _BILLING_EVENTS, wanted, wanted.since or EVER, wanted.until or NEVER):
        yield rows


async def daily(db: Connection, wanted: Filter) -> AsyncIterator[Sequence[Record]]:
    """By workspace, then day. `since` and `until` are midnights in UTC."""
    since, until = wanted.since or EVER, wanted.until or NEVER
    async for rows in _fetched(db, _DAILY, wanted, since.date(), until.date()):
        yield rows


async def insert(
    db: Connection, *, id: UUID, workspace_id: UUID | None, actor_kind: str, actor_id: UUID, kind: str, created_at: datetime
) -> None:
    await db.execute(INSERT, id, workspace_id, actor_kind, actor_id, kind, created_at, timeout=QUERY_S)


async def finish(db: Connection, id: UUID, *, manifest: str, at: datetime) -> None:
    """Once: a manifest is never replaced."""
    await db.execute(FINISH, id, manifest, at, timeout=QUERY_S)


async def get(db: Connection, id: UUID, *, workspace_id: UUID | None) -> ExportRow | None:
    row = await db.fetchrow(GET, id, workspace_id, timeout=QUERY_S)
    return None if row is None else ExportRow(**dict(row))


async def list_all(db: Connection, *, workspace_id: UUID | None, kind: str | None, page: Page) -> list[ExportRow]:
    rows = await db.fetch(LIST.of(page), workspace_id, kind, page.after, page.limit + 1, timeout=QUERY_S)
    return [ExportRow(**dict(row)) for row in rows]


async def _fetched(
    db: Connection, sql: str, wanted: Filter, since: datetime | date, until: datetime | date
) -> AsyncIterator[Sequence[Record]]:
    await db.execute(
        _DECLARE + sql, since, until, wanted.workspace_id, wanted.user_id, wanted.virtual_key_id, wanted.llm,
        wanted.provider, wanted.key_source, timeout=FETCH_S,
    )  # fmt: skip
    rows = None
    while rows is None or len(rows) == BATCH_ROWS:
        rows = await db.fetch(_FETCH, timeout=FETCH_S)
        if rows:
            yield rows
    await db.execute(_CLOSE, timeout=QUERY_S)
