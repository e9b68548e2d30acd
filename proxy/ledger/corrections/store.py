"""SQL that corrects: reads attempts as they count now, writes corrections and the entries that follow from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from uuid import UUID

from proxy.ledger.corrections.current import CORRECTED, NEWEST
from proxy.ledger.corrections.entries import Written
from proxy.ledger.corrections.figures import Attempt, Figures
from proxy.ledger.store import TEMP_TABLES
from proxy.storage.postgres import Connection, Record
from proxy.wire.ids import moment_of

QUERY_S = 30.0

_IDENTITY = (
    "workspace_id", "attempt_id", "occurred_at", "recorded_at", "user_id", "virtual_key_id", "agent_id", "llm",
    "provider", "upstream_model", "surface", "key_source", "provider_account", "usage_source", "outcome", "processing",
    "raw_usage",
)  # fmt: skip

# In the order of the partition's primary key, so that a page costs what it holds however many rows the day has.
PAGE = """
SELECT workspace_id, attempt_id, occurred_at FROM usage_events
WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::text IS NULL OR llm = $3)
  AND ($4::uuid IS NULL OR (workspace_id, attempt_id) > ($4, $5::uuid))
ORDER BY workspace_id, attempt_id LIMIT $6
"""
LOAD = (
    """
SELECT <identity>, <row>, c.number, <now>,
       coalesce((SELECT max(number) FROM usage_corrections k
                 WHERE k.workspace_id = e.workspace_id AND k.attempt_id = e.attempt_id), 0) AS corrections
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS wanted (workspace_id, attempt_id, occurred_at)
JOIN usage_events e ON e.workspace_id = wanted.workspace_id AND e.attempt_id = wanted.attempt_id
    AND e.occurred_at = wanted.occurred_at AND e.occurred_at BETWEEN $4 AND $5
<newest>
ORDER BY e.occurred_at, e.attempt_id
""".replace("<identity>", ", ".join(f"e.{name}" for name in _IDENTITY))
    .replace("<row>", ", ".join(f"e.{name}" for name in CORRECTED))
    .replace("<now>", ", ".join(f"c.{name} AS now_{name}" for name in CORRECTED))
    .replace("<newest>", NEWEST)
)
FIND = "SELECT workspace_id FROM usage_events WHERE occurred_at = $1 AND attempt_id = $2"
SHARDS = "SELECT DISTINCT shard FROM workspaces WHERE id = ANY($1::uuid[]) ORDER BY shard"
WORKSPACE_EXISTS = "SELECT EXISTS (SELECT FROM workspaces WHERE id = $1)"
ENTRIES = """
SELECT attempt_id, id, kind, amount_pusd, corrects FROM billing_events WHERE attempt_id = ANY($1::uuid[]) ORDER BY id
"""
WHOSE = "SELECT user_id, virtual_key_id, occurred_at FROM billing_events WHERE id = $1"

_CORRECTION_COLUMNS = (
    "workspace_id", "attempt_id", "number", "occurred_at", "row_recorded_at", *CORRECTED, "reason", "actor_kind",
    "actor_id",
)  # fmt: skip
_ENTRY_COLUMNS = (
    "id", "workspace_id", "user_id", "virtual_key_id", "attempt_id", "kind", "amount_pusd", "corrects", "reason",
    "occurred_at", "actor_kind", "actor_id",
)  # fmt: skip
_DELTA_COLUMNS = (
    "sign", "changed", "workspace_id", "attempt_id", "occurred_at", "user_id", "virtual_key_id", "agent_id", "llm",
    "provider", "key_source", "service_tier", "outcome", "pricing", "reasoning_tokens", "units", "quantities",
    "line_list_pusd", "line_charge_pusd", "owed_pusd",
)  # fmt: skip


class Key(NamedTuple):
    workspace_id: UUID
    attempt_id: UUID
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Correction:
    attempt: Attempt
    number: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger to write. `attempt_id` None: a credit that no attempt caused."""

    id: UUID
    workspace_id: UUID
    user_id: UUID | None
    virtual_key_id: UUID | None
    attempt_id: UUID | None
    kind: str
    amount_pusd: int
    corrects: UUID | None
    reason: str
    occurred_at: datetime


class Author(NamedTuple):
    """Who corrects, and why."""

    kind: str
    id: UUID
    reason: str


async def page(
    db: Connection, *, day: date, since: datetime, until: datetime, llm: str | None, after: tuple[UUID, UUID] | None,
    limit: int,
) -> list[Key]:  # fmt: skip
    """Attempts of one UTC day, by workspace and attempt."""
    midnight = datetime.combine(day, time(0), UTC)
    workspace_id, attempt_id = after or (None, None)
    rows = await db.fetch(
        PAGE, max(since, midnight), min(until, midnight + timedelta(days=1)), llm, workspace_id, attempt_id, limit,
        timeout=QUERY_S,
    )  # fmt: skip
    return [Key(*row.values()) for row in rows]


async def find(db: Connection, attempt_id: UUID) -> Key | None:
    try:
        moment = moment_of(attempt_id)
    except OverflowError:  # an id that somebody made up
        return None
    workspace_id = await db.fetchval(FIND, moment, attempt_id, timeout=QUERY_S)
    return None if workspace_id is None else Key(workspace_id, attempt_id, moment)


async def shards(db: Connection, workspaces: Iterable[UUID]) -> list[int]:
    return [row["shard"] for row in await db.fetch(SHARDS, list(workspaces), timeout=QUERY_S)]


async def workspace_exists(db: Connection, workspace_id: UUID) -> bool:
    found: bool = await db.fetchval(WORKSPACE_EXISTS, workspace_id, timeout=QUERY_S)
    return found


async def load(db: Connection, keys: Sequence[Key]) -> list[Attempt]:
    """Oldest first. As the writer of their shards only: else they may change meanwhile."""
    if not keys:
        return []
    columns = [list(column) for column in zip(*keys, strict=True)]
    moments = [key.occurred_at for key in keys]
    return [_attempt(row) for row in await db.fetch(LOAD, *columns, min(moments), max(moments), timeout=QUERY_S)]


async def entries_of(db: Connection, attempts: Iterable[UUID]) -> Mapping[UUID, list[Written]]:
    found: defaultdict[UUID, list[Written]] = defaultdict(list)
    for row in await db.fetch(ENTRIES, list(attempts), timeout=QUERY_S):
        attempt_id, *fields = row.values()
        found[attempt_id].append(Written(*fields))
    return found


async def write_corrections(db: Connection, corrections: Sequence[Correction], author: Author) -> None:
    await db.copy_records_to_table(
        "usage_corrections",
        records=[
            (
                one.attempt.workspace_id, one.attempt.attempt_id, one.number, one.attempt.occurred_at,
                one.attempt.recorded_at, *one.figures, author.reason, author.kind, author.id,
            )
            for one in corrections
        ],
        columns=_CORRECTION_COLUMNS,
        timeout=QUERY_S,
    )  # fmt: skip


async def write_delta(db: Connection, corrections: Sequence[Correction]) -> None:
    """What they change, where rollups and credits look for it: -1 what counted until now, +1 what counts from now on."""
    await db.execute(TEMP_TABLES, timeout=QUERY_S)
    await db.copy_records_to_table(
        "ledger_delta_2",
        records=[
            (
                sign, True, one.attempt.workspace_id, one.attempt.attempt_id, one.attempt.occurred_at,
                one.attempt.user_id, one.attempt.virtual_key_id, one.attempt.agent_id, one.attempt.llm,
                one.attempt.provider, one.attempt.key_source, figures.service_tier, one.attempt.outcome,
                figures.pricing, figures.reasoning_tokens, figures.units, figures.quantities, figures.line_list_pusd,
                figures.line_charge_pusd, figures.owed_pusd,
            )
            for one in corrections
            for sign, figures in ((-1, one.attempt.now), (1, one.figures))
        ],
        columns=_DELTA_COLUMNS,
        timeout=QUERY_S,
    )  # fmt: skip


async def write_entries(db: Connection, entries: Sequence[Entry], author: Author) -> None:
    await db.copy_records_to_table(
        "billing_events",
        records=[
            (
                one.id, one.workspace_id, one.user_id, one.virtual_key_id, one.attempt_id, one.kind, one.amount_pusd,
                one.corrects, one.reason, one.occurred_at, author.kind, author.id,
            )
            for one in entries
        ],
        columns=_ENTRY_COLUMNS,
        timeout=QUERY_S,
    )  # fmt: skip


async def whose(db: Connection, entry_id: UUID) -> tuple[UUID | None, UUID | None, datetime]:
    """User, virtual key and moment of an entry."""
    row = await db.fetchrow(WHOSE, entry_id, timeout=QUERY_S)
    assert row is not None
    return row["user_id"], row["virtual_key_id"], row["occurred_at"]


def _attempt(row: Record) -> Attempt:
    of_row = _figures(row, "")
    return Attempt(
        **{name: row[name] for name in _IDENTITY}, row=of_row,
        now=of_row if row["number"] is None else _figures(row, "now_"), corrections=row["corrections"],
    )  # fmt: skip


def _figures(row: Record, prefix: str) -> Figures:
    values = (row[prefix + name] for name in CORRECTED)
    return Figures._make(tuple(value) if isinstance(value, list) else value for value in values)
