"""The ledger's transaction: a batch of events into rows, billing events, rollups and the position.

Everything is set-based and static. Temp tables are made inside the transaction and emptied by its commit, so any
server connection behind pgbouncer will do. Their names carry a number: it grows when their columns change, because a
pooled server connection keeps an older program's table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from asyncpg import exceptions

from proxy.ledger.corrections.current import CURRENT, NEWEST
from proxy.ledger.credits import store as credits
from proxy.ledger.entry import DeadLetter, Row
from proxy.ledger.rollups import store as rollups
from proxy.storage.away import StoreAway
from proxy.storage.postgres import POSTGRES_AWAY, Connection, Pool
from proxy.wire.ids import uuid7

_LOCK_CLASS = 1_819_305_063  # "ledg": the first of the two numbers of the advisory lock, the shard is the second
_ACQUIRE_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 90.0

# Data exceptions, integrity violations, an index entry too large: a value is at fault. Everything else (a missing
# column, no disk) is the server's or the program's fault and must never send good entries to the dead letters.
_POISON_CLASSES = ("22", "23", "54")
_RETRY_STATES = ("40001", "40P01")


class Poison(Exception):
    """Some entry of the batch can never be written."""


class Conflict(Exception):
    """A deadlock or serialization failure: the same transaction may be tried again."""


class NoPartition(Exception):
    """A row's day has no partition (any more)."""


@dataclass(frozen=True, slots=True)
class Applied:
    inserted: int
    changed: int


@contextmanager
def sorted_errors() -> Iterator[None]:
    """asyncpg's errors as the four things that can follow from them: away, conflict, poison, no partition."""
    try:
        yield
    except StoreAway:
        raise  # already said, perhaps by Redis inside the transaction
    except POSTGRES_AWAY as error:
        raise StoreAway(f"Postgres: {error!r}") from error
    except exceptions.InterfaceError as error:
        if isinstance(error, ValueError):
            raise Poison(f"cannot be encoded: {error}") from error
        # Killed under a query, a connection is given back in the middle of it: the pool's ROLLBACK then fails with
        # "another operation is in progress", which covers the error that named the reason.
        raise StoreAway(f"Postgres: {error!r}") from error
    except exceptions.PostgresError as error:
        state = error.sqlstate or ""
        if state in _RETRY_STATES:
            raise Conflict(str(error)) from error
        # "no partition of relation … found for row" is a check violation without a constraint's name.
        if state == "23514" and error.constraint_name is None:
            raise NoPartition(str(error)) from error
        if state[:2] in _POISON_CLASSES:
            raise Poison(f"{state} {error}") from error
        raise StoreAway(f"Postgres refuses: {state} {error}") from error


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    with sorted_errors():
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as conn:
            yield conn


@asynccontextmanager
async def transaction(conn: Connection) -> AsyncIterator[None]:
    with sorted_errors():
        async with conn.transaction():
            yield


# The lock comes first and ends with the transaction. Bounds so that a stalled writer gives the shard up. Temp tables
# have no statistics: hash and merge joins would read whole partitions, a nested loop reads only the rows named.
_BOUNDS = """
set_config('lock_timeout', '10s', true), set_config('statement_timeout', '60s', true),
set_config('idle_in_transaction_session_timeout', '30s', true), set_config('client_min_messages', 'warning', true),
set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
"""
_OPEN_BATCH = f"""
SELECT pg_try_advisory_xact_lock($1, $2) AS locked, pg_postmaster_start_time() AS server_started, {_BOUNDS}
"""
_SET_BOUNDS = f"SELECT {_BOUNDS}"
_WAIT_FOR_SHARD = "SELECT pg_advisory_xact_lock($1, $2)"


async def open_batch(conn: Connection, shard: int) -> datetime | None:
    """Become the shard's writer for this transaction: when the server started, or None where another one is writing."""
    row = await conn.fetchrow(_OPEN_BATCH, _LOCK_CLASS, shard, timeout=_COMMAND_TIMEOUT_S)
    if row is None or not row["locked"]:
        return None
    started: datetime = row["server_started"]
    return started


async def become_writer(conn: Connection, shard: int) -> None:
    """`open_batch` for who corrects what is there: waits for the other writer, 10 s at most, then raises what Postgres does."""
    await conn.execute(_SET_BOUNDS, timeout=_COMMAND_TIMEOUT_S)
    await conn.execute(_WAIT_FOR_SHARD, _LOCK_CLASS, shard, timeout=_COMMAND_TIMEOUT_S)


async def apply(conn: Connection, rows: Sequence[Row], *, now_ms: int) -> Applied:
    """Write rows, of which no two are of one attempt, and what follows from those that are new or changed."""
    if not rows:
        return Applied(0, 0)
    await conn.execute(TEMP_TABLES, timeout=_COMMAND_TIMEOUT_S)
    await conn.copy_records_to_table(
        _BATCH_TABLE,
        records=[_record(seq, row, now_ms) for seq, row in enumerate(rows)],
        columns=_BATCH_COLUMNS,
        timeout=_COMMAND_TIMEOUT_S,
    )
    inserted = _count(await conn.execute(_INSERT_EVENTS, timeout=_COMMAND_TIMEOUT_S))
    changed = 0
    if inserted < len(rows):
        first, last = min(row.occurred_at for row in rows), max(row.occurred_at for row in rows)
        changed = _count(await conn.execute(_LOCK_ABANDONED, first, last, timeout=_COMMAND_TIMEOUT_S))
        if changed:
            await conn.execute(_CHANGE_EVENTS, first, last, timeout=_COMMAND_TIMEOUT_S)
            await conn.execute(_BILL_CORRECTIONS, timeout=_COMMAND_TIMEOUT_S)  # before charges: it looks for entries
    if inserted or changed:
        await conn.execute(_BILL_CHARGES, timeout=_COMMAND_TIMEOUT_S)
        if changed or any(row.event.charge_kind == "platform_fee" for row in rows):
            await credits.add_delta(conn, now_ms=now_ms)
        await rollups.add_delta(conn)
    return Applied(inserted, changed)


async def bury(conn: Connection, shard: int, letters: Sequence[DeadLetter]) -> None:
    """Keep the bytes of what cannot be written. Repeatable."""
    if letters:
        await conn.execute(
            _BURY,
            shard,
            [letter.entry_id.decode() for letter in letters],
            [letter.payload for letter in letters],
            [letter.error for letter in letters],
            timeout=_COMMAND_TIMEOUT_S,
        )


async def buried(conn: Connection, shard: int, ids: Sequence[bytes]) -> set[bytes]:
    """Which of these entries are dead letters already."""
    found = await conn.fetch(_BURIED, shard, [entry_id.decode() for entry_id in ids], timeout=_COMMAND_TIMEOUT_S)
    return {row["entry_id"].encode() for row in found}


async def advance(conn: Connection, shard: int, entry_id: bytes, as_of: datetime) -> None:
    """The ledger holds everything settled before `as_of`. Neither value ever goes back."""
    await conn.execute(_ADVANCE, shard, entry_id.decode(), as_of, timeout=_COMMAND_TIMEOUT_S)


# What both temp tables and the three writes to usage_events share, in one order.
_EVENT_COLUMNS = (
    "workspace_id", "attempt_id", "occurred_at", "request_id", "attempt_number", "user_id", "virtual_key_id",
    "agent_id", "end_user", "conversation_id", "message_id", "llm", "provider", "upstream_model", "surface", "stream",
    "key_source", "provider_account", "user_variable_id", "usage_source", "outcome", "upstream_status", "error_code",
    "service_tier", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "usage_inconsistent",
    "units", "quantities", "price_item_ids", "line_list_pusd", "line_charge_pusd", "list_pusd", "charge_pusd",
    "pricing", "processing", "charge_kind", "charge_bps", "charge_reason", "latency_ms", "first_token_ms", "overhead_ms",
    "upstream_request_id", "raw_usage",
)  # fmt: skip
_BATCH_COLUMNS = ("seq", "billing_id", *_EVENT_COLUMNS)
_BATCH_TABLE = "ledger_batch_2"

# ledger_batch: the events as they came, and the id of the billing event of its charge that each may cause.
# ledger_delta: what the batch did to usage_events: +1 a row as it is now, -1 a row as it was before it changed.
TEMP_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS ledger_batch_2 (
    seq integer NOT NULL, billing_id uuid NOT NULL,
    workspace_id uuid NOT NULL, attempt_id uuid NOT NULL, occurred_at timestamptz NOT NULL, request_id uuid NOT NULL,
    attempt_number integer NOT NULL, user_id uuid NOT NULL, virtual_key_id uuid NOT NULL, agent_id uuid, end_user text,
    conversation_id uuid, message_id uuid, llm text NOT NULL, provider text NOT NULL, upstream_model text NOT NULL,
    surface text NOT NULL, stream boolean NOT NULL, key_source text NOT NULL, provider_account text NOT NULL,
    user_variable_id uuid, usage_source text NOT NULL, outcome text NOT NULL, upstream_status integer, error_code text,
    service_tier text NOT NULL, input_tokens bigint NOT NULL, cached_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL, reasoning_tokens bigint, usage_inconsistent boolean NOT NULL,
    units text[] NOT NULL, quantities bigint[] NOT NULL,
    price_item_ids uuid[] NOT NULL, line_list_pusd bigint[] NOT NULL, line_charge_pusd bigint[] NOT NULL,
    list_pusd bigint NOT NULL, charge_pusd bigint NOT NULL, pricing text NOT NULL, processing text NOT NULL,
    charge_kind text NOT NULL, charge_bps integer NOT NULL, charge_reason text NOT NULL, latency_ms integer,
    first_token_ms integer, overhead_ms integer, upstream_request_id text, raw_usage text,
    PRIMARY KEY (workspace_id, attempt_id)
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS ledger_delta_2 (
    sign integer NOT NULL, changed boolean NOT NULL, -- what follows is what rollups and billing events need
    workspace_id uuid NOT NULL, attempt_id uuid NOT NULL, occurred_at timestamptz NOT NULL, user_id uuid NOT NULL,
    virtual_key_id uuid NOT NULL, agent_id uuid, llm text NOT NULL, provider text NOT NULL, key_source text NOT NULL,
    service_tier text NOT NULL, outcome text NOT NULL, pricing text NOT NULL, reasoning_tokens bigint,
    units text[] NOT NULL, quantities bigint[] NOT NULL, line_list_pusd bigint[] NOT NULL,
    line_charge_pusd bigint[] NOT NULL, owed_pusd bigint, -- NULL: not ours to charge, or nobody knows yet
    PRIMARY KEY (workspace_id, attempt_id, sign)
) ON COMMIT DELETE ROWS
"""

_INSERT_EVENTS = """
WITH inserted AS (
    INSERT INTO usage_events (
        workspace_id, attempt_id, occurred_at, request_id, attempt_number, user_id, virtual_key_id, agent_id, end_user,
        conversation_id, message_id, llm, provider, upstream_model, surface, stream, key_source, provider_account,
        user_variable_id, usage_source, outcome, upstream_status, error_code, service_tier, input_tokens, cached_tokens,
        output_tokens, reasoning_tokens, usage_inconsistent, units, quantities, price_item_ids, line_list_pusd,
        line_charge_pusd, list_pusd, charge_pusd, pricing, processing, charge_kind, charge_bps, charge_reason, latency_ms,
        first_token_ms, overhead_ms, upstream_request_id, raw_usage)
    SELECT
        workspace_id, attempt_id, occurred_at, request_id, attempt_number, user_id, virtual_key_id, agent_id, end_user,
        conversation_id, message_id, llm, provider, upstream_model, surface, stream, key_source, provider_account,
        user_variable_id, usage_source, outcome, upstream_status, error_code, service_tier, input_tokens, cached_tokens,
        output_tokens, reasoning_tokens, usage_inconsistent, units, quantities, price_item_ids, line_list_pusd,
        line_charge_pusd, list_pusd, charge_pusd, pricing, processing, charge_kind, charge_bps, charge_reason, latency_ms,
        first_token_ms, overhead_ms, upstream_request_id, raw_usage
    FROM ledger_batch_2
    ORDER BY workspace_id, attempt_id
    ON CONFLICT (workspace_id, attempt_id, occurred_at) DO NOTHING
    RETURNING *
)
INSERT INTO ledger_delta_2
SELECT 1, false, workspace_id, attempt_id, occurred_at, user_id, virtual_key_id, agent_id, llm, provider, key_source,
       service_tier, outcome, pricing, reasoning_tokens, units, quantities, line_list_pusd, line_charge_pusd,
       CASE WHEN charge_kind <> 'none' AND pricing = 'priced' THEN charge_pusd END
FROM inserted
"""

# A row changes once, from abandoned to final: what it came to, corrected or not, is locked and noted before it changes.
_LOCK_ABANDONED = """
WITH before AS (
    SELECT e.workspace_id, e.attempt_id, e.occurred_at, e.user_id, e.virtual_key_id, e.agent_id, e.llm, e.provider,
           e.key_source, e.outcome, <current>
    FROM ledger_batch_2 b JOIN usage_events e USING (workspace_id, attempt_id, occurred_at) <newest>
    WHERE b.outcome <> 'abandoned' AND e.outcome = 'abandoned' AND e.occurred_at BETWEEN $1 AND $2
    ORDER BY e.workspace_id, e.attempt_id
    FOR UPDATE OF e
)
INSERT INTO ledger_delta_2
SELECT -1, true, workspace_id, attempt_id, occurred_at, user_id, virtual_key_id, agent_id, llm, provider, key_source,
       service_tier, outcome, pricing, reasoning_tokens, units, quantities, line_list_pusd, line_charge_pusd,
       CASE WHEN charge_kind <> 'none' AND pricing = 'priced' THEN charge_pusd END
FROM before
""".replace("<current>", CURRENT).replace("<newest>", NEWEST)

_CHANGE_EVENTS = """
WITH changed AS (
    UPDATE usage_events e
    SET request_id = b.request_id, attempt_number = b.attempt_number, user_id = b.user_id,
        virtual_key_id = b.virtual_key_id, agent_id = b.agent_id, end_user = b.end_user,
        conversation_id = b.conversation_id, message_id = b.message_id, llm = b.llm, provider = b.provider,
        upstream_model = b.upstream_model, surface = b.surface, stream = b.stream, key_source = b.key_source,
        provider_account = b.provider_account, user_variable_id = b.user_variable_id, usage_source = b.usage_source,
        outcome = b.outcome, upstream_status = b.upstream_status, error_code = b.error_code,
        service_tier = b.service_tier, input_tokens = b.input_tokens, cached_tokens = b.cached_tokens,
        output_tokens = b.output_tokens, reasoning_tokens = b.reasoning_tokens,
        usage_inconsistent = b.usage_inconsistent, units = b.units, quantities = b.quantities,
        price_item_ids = b.price_item_ids, line_list_pusd = b.line_list_pusd, line_charge_pusd = b.line_charge_pusd,
        list_pusd = b.list_pusd, charge_pusd = b.charge_pusd, pricing = b.pricing, processing = b.processing,
        charge_kind = b.charge_kind, charge_bps = b.charge_bps, charge_reason = b.charge_reason, latency_ms = b.latency_ms,
        first_token_ms = b.first_token_ms, overhead_ms = b.overhead_ms, upstream_request_id = b.upstream_request_id,
        raw_usage = b.raw_usage, recorded_at = now()
    FROM ledger_delta_2 d JOIN ledger_batch_2 b USING (workspace_id, attempt_id)
    WHERE d.sign = -1 AND e.workspace_id = d.workspace_id AND e.attempt_id = d.attempt_id
      AND e.occurred_at = d.occurred_at AND e.occurred_at BETWEEN $1 AND $2
    RETURNING e.*
)
INSERT INTO ledger_delta_2
SELECT 1, true, workspace_id, attempt_id, occurred_at, user_id, virtual_key_id, agent_id, llm, provider, key_source,
       service_tier, outcome, pricing, reasoning_tokens, units, quantities, line_list_pusd, line_charge_pusd,
       CASE WHEN charge_kind <> 'none' AND pricing = 'priced' THEN charge_pusd END
FROM changed
"""

# The difference, naming the entry it corrects. An attempt has one such entry, of usage or fee: billing_events_once.
_BILL_CORRECTIONS = """
INSERT INTO billing_events
    (id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects, reason, occurred_at)
SELECT b.billing_id, d.workspace_id, d.user_id, d.virtual_key_id, d.attempt_id, 'adjustment',
       coalesce(d.owed_pusd, 0) - coalesce(o.owed_pusd, 0), u.id, 'settled after it was abandoned', d.occurred_at
FROM ledger_delta_2 d
JOIN ledger_delta_2 o ON o.sign = -1 AND o.workspace_id = d.workspace_id AND o.attempt_id = d.attempt_id
JOIN ledger_batch_2 b ON b.workspace_id = d.workspace_id AND b.attempt_id = d.attempt_id
JOIN billing_events u ON u.kind IN ('usage', 'platform_fee') AND u.attempt_id = d.attempt_id
WHERE d.sign = 1 AND coalesce(d.owed_pusd, 0) <> coalesce(o.owed_pusd, 0)
ORDER BY b.seq
"""

# An abandoned attempt gets its entry even when it owes nothing yet: a later correction needs something to name.
_BILL_CHARGES = """
INSERT INTO billing_events (id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, occurred_at)
SELECT b.billing_id, d.workspace_id, d.user_id, d.virtual_key_id, d.attempt_id, b.charge_kind, d.owed_pusd, d.occurred_at
FROM ledger_delta_2 d
JOIN ledger_batch_2 b ON b.workspace_id = d.workspace_id AND b.attempt_id = d.attempt_id
WHERE d.sign = 1 AND d.owed_pusd IS NOT NULL AND (d.owed_pusd <> 0 OR d.outcome = 'abandoned')
  AND NOT (d.changed AND EXISTS (
      SELECT FROM billing_events u WHERE u.kind IN ('usage', 'platform_fee') AND u.attempt_id = d.attempt_id))
ORDER BY b.seq
"""

_BURY = """
INSERT INTO dead_letters (shard, entry_id, payload, error)
SELECT $1, l.entry_id, l.payload, l.error
FROM unnest($2::text[], $3::bytea[], $4::text[]) AS l (entry_id, payload, error)
ON CONFLICT (shard, entry_id) DO NOTHING
"""

_BURIED = "SELECT entry_id FROM dead_letters WHERE shard = $1 AND entry_id = ANY ($2::text[])"

# Stream ids are two numbers joined by a dash and compare as such.
_ADVANCE = """
INSERT INTO ledger_positions AS p (shard, entry_id, as_of) VALUES ($1, $2, $3)
ON CONFLICT (shard) DO UPDATE SET
    entry_id = CASE
        WHEN (split_part(excluded.entry_id, '-', 1)::numeric, split_part(excluded.entry_id, '-', 2)::numeric)
           > (split_part(p.entry_id, '-', 1)::numeric, split_part(p.entry_id, '-', 2)::numeric)
        THEN excluded.entry_id ELSE p.entry_id END,
    as_of = greatest(p.as_of, excluded.as_of)
"""


def _record(seq: int, row: Row, now_ms: int) -> tuple[object, ...]:
    event = row.event
    values = (row.occurred_at if name == "occurred_at" else getattr(event, name) for name in _EVENT_COLUMNS)
    return (seq, uuid7(now_ms), *values)


def _count(tag: str) -> int:
    """Rows named by a command tag: `INSERT 0 7`."""
    return int(tag.rpartition(" ")[2])
