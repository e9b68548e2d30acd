"""SQL that sums `usage_hourly` and `usage_daily`. A static text for every grouping: what is not grouped by is NULL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal, get_args
from uuid import UUID

from pricing.usage import CACHED_UNITS, INPUT_UNITS, OUTPUT_UNITS
from proxy.storage.postgres import Connection, Record

QUERY_S = 30.0
EVER = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
MAX_ROWS = 10_000

GroupBy = Literal["day", "hour", "workspace_id", "user_id", "virtual_key_id", "llm", "provider", "key_source"]
GROUPS: tuple[GroupBy, ...] = get_args(GroupBy)

_SUMS = """
    coalesce(sum(quantity) FILTER (WHERE unit = 'requests'), 0) AS requests,
    coalesce(sum(quantity) FILTER (WHERE unit = 'errors'), 0) AS errors,
    coalesce(sum(quantity) FILTER (WHERE unit = 'unpriced'), 0) AS unpriced_requests,
    coalesce(sum(quantity) FILTER (WHERE unit = ANY(<units>::text[])), 0) AS input_tokens,
    coalesce(sum(quantity) FILTER (WHERE unit = ANY(<units + 1>::text[])), 0) AS cached_tokens,
    coalesce(sum(quantity) FILTER (WHERE unit = ANY(<units + 2>::text[])), 0) AS output_tokens,
    coalesce(sum(quantity) FILTER (WHERE unit = 'reasoning'), 0) AS reasoning_tokens,
    coalesce(sum(list_pusd), 0) AS list_pusd, coalesce(sum(charge_pusd), 0) AS charge_pusd
"""


def _sums(first: int) -> str:
    """`first`: the number of the parameter with the input units; cached and output follow."""
    text = _SUMS
    for step, mark in enumerate(["<units>", "<units + 1>", "<units + 2>"]):
        text = text.replace(mark, f"${first + step}")
    return text


_SUMMARY = (
    """
SELECT CASE WHEN 'day' = ANY($1::text[]) THEN <day> END AS day,
       CASE WHEN 'hour' = ANY($1) THEN <hour> END AS hour,
       CASE WHEN 'workspace_id' = ANY($1) THEN workspace_id END AS workspace_id,
       CASE WHEN 'user_id' = ANY($1) THEN user_id END AS user_id,
       CASE WHEN 'virtual_key_id' = ANY($1) THEN virtual_key_id END AS virtual_key_id,
       CASE WHEN 'llm' = ANY($1) THEN llm END AS llm,
       CASE WHEN 'provider' = ANY($1) THEN provider END AS provider,
       CASE WHEN 'key_source' = ANY($1) THEN key_source END AS key_source,
"""
    + _sums(12)
    + """
FROM <table>
WHERE <time> >= $2 AND <time> < $3 AND ($4::uuid IS NULL OR workspace_id = $4) AND ($5::uuid IS NULL OR user_id = $5)
  AND ($6::uuid IS NULL OR virtual_key_id = $6) AND ($7::text IS NULL OR llm = $7)
  AND ($8::text IS NULL OR provider = $8) AND ($9::text IS NULL OR key_source = $9)
  AND ($10::text IS NULL OR service_tier = $10)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 1, 2, list_pusd DESC, 3, 4, 5, 6, 7, 8 LIMIT $11
"""
)
BY_HOURS = (
    _SUMMARY.replace("<table>", "usage_hourly")
    .replace("<time>", "hour")
    .replace("<day>", "(hour AT TIME ZONE 'UTC')::date")
    .replace("<hour>", "hour")
)
BY_DAYS = (
    _SUMMARY.replace("<table>", "usage_daily")
    .replace("<time>", "day")
    .replace("<day>", "day")
    .replace("<hour>", "NULL::timestamptz")
)
OF_KEY = "SELECT" + _sums(4) + "FROM usage_daily WHERE workspace_id = $1 AND virtual_key_id = $2 AND day >= $3"


@dataclass(frozen=True, slots=True)
class SumFilter:
    """None: any. `since` inclusive, `until` exclusive, both on whole hours."""

    workspace_id: UUID | None
    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    virtual_key_id: UUID | None = None
    llm: str | None = None
    provider: str | None = None
    key_source: str | None = None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    requests: int
    errors: int
    unpriced_requests: int  # above 0: the amounts are a lower bound
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    list_pusd: int
    charge_pusd: int


NOTHING = Sums(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SumRow:
    """What was not grouped by is None."""

    day: date | None
    hour: datetime | None
    workspace_id: UUID | None
    user_id: UUID | None
    virtual_key_id: UUID | None
    llm: str | None
    provider: str | None
    key_source: str | None
    sums: Sums


async def summary(
    db: Connection, group_by: Sequence[GroupBy], wanted: SumFilter, *, limit: int = MAX_ROWS
) -> list[SumRow]:
    """By time, then dearest first; up to `limit` + 1 rows. Whole days come from the daily rollup."""
    since, until = wanted.since or EVER, wanted.until or NEVER
    filters = (
        wanted.workspace_id, wanted.user_id, wanted.virtual_key_id, wanted.llm, wanted.provider, wanted.key_source,
        wanted.service_tier, limit + 1, INPUT_UNITS, CACHED_UNITS, OUTPUT_UNITS,
    )  # fmt: skip
    if "hour" in group_by or not (_is_midnight(since) and _is_midnight(until)):
        rows = await db.fetch(BY_HOURS, group_by, since, until, *filters, timeout=QUERY_S)
    else:
        days = since.astimezone(UTC).date(), until.astimezone(UTC).date()
        rows = await db.fetch(BY_DAYS, group_by, *days, *filters, timeout=QUERY_S)
    return [SumRow(**{name: row[name] for name in GROUPS}, sums=_read_sums(row)) for row in rows]


async def of_key(db: Connection, *, workspace_id: UUID, virtual_key_id: UUID, since: date) -> Sums:
    """What one key has used since a day."""
    row = await db.fetchrow(
        OF_KEY, workspace_id, virtual_key_id, since, INPUT_UNITS, CACHED_UNITS, OUTPUT_UNITS, timeout=QUERY_S
    )
    assert row is not None
    return _read_sums(row)


def _is_midnight(moment: datetime) -> bool:
    return moment.astimezone(UTC).time() == time(0)


def _read_sums(row: Record) -> Sums:
    # Sums are numeric in SQL and whole: a Decimal becomes an int here, never a float.
    return Sums(**{name: int(row[name]) for name in Sums.__slots__})
