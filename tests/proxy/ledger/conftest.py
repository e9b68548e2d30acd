"""A ledger on real stores: events in, tables out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest

from proxy.holds.keys import usage_key
from proxy.ledger.stream import UsageStream
from proxy.ledger.writer import LedgerWriter, Wrote
from proxy.settlement.charge import charges
from proxy.settlement.usage_event import UsageEvent, encode
from proxy.storage.postgres import Pool
from proxy.storage.redis import Redis, open_redis
from proxy.wire.ids import uuid7

WORKSPACE, USER, KEY = UUID(int=1), UUID(int=2), UUID(int=3)
SHARD = 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def build_event(**changes: Any) -> UsageEvent:
    """A priced, final attempt of now: 10 tokens in at 3, 5 out at 7, so 65 pusd."""
    values: dict[str, Any] = {
        "attempt_id": uuid7(changes.pop("at_ms", None) or now_ms()),
        "request_id": uuid4(),
        "workspace_id": WORKSPACE,
        "user_id": USER,
        "virtual_key_id": KEY,
        "llm": "gpt-4o-mini",
        "provider": "openai",
        "upstream_model": "gpt-4o-mini",
        "surface": "chat.completions",
        "key_source": "global",
        "provider_account": "ours",
        "usage_source": "provider",
        "outcome": "ok",
        "input_tokens": 10,
        "output_tokens": 5,
        "units": ["input", "output"],
        "quantities": [10, 5],
        "price_item_ids": [None, None],
        "line_list_pusd": [30, 35],
    } | changes
    values.setdefault("line_charge_pusd", charges(values.get("charge_bps", 10_000), values["line_list_pusd"]))
    values.setdefault("list_pusd", sum(values["line_list_pusd"]))
    values.setdefault("charge_pusd", sum(values["line_charge_pusd"]))
    return UsageEvent(**values)


def build_abandoned(event: UsageEvent, **changes: Any) -> UsageEvent:
    """What a sweep writes for an attempt: its prompt, no output."""
    values = {name: getattr(event, name) for name in event.__struct_fields__} | {
        "outcome": "abandoned",
        "usage_source": "estimated",
        "output_tokens": 0,
        "input_tokens": 8,
        "units": ["input"],
        "quantities": [8],
        "price_item_ids": [None],
        "line_list_pusd": [24],
        "list_pusd": 24,
    } | changes
    if "line_charge_pusd" not in changes:
        values["line_charge_pusd"] = charges(values["charge_bps"], values["line_list_pusd"])
        values["charge_pusd"] = sum(values["line_charge_pusd"])
    return UsageEvent(**values)


class Recorder:
    """What the ledger told its watcher."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: dict[str, float] = {}

    def written(self, *, inserted: int, changed: int, repeated: int) -> None:
        self.counts.update(inserted=inserted, changed=changed, repeated=repeated)

    def buried(self, count: int) -> None:
        self.counts["buried"] += count

    def failed(self, why: str) -> None:
        self.counts[why] += 1

    def progress(self, shard: int, *, lag_s: float, pending: int, unknown: int) -> None:
        self.last = {"lag_s": lag_s, "pending": pending, "unknown": unknown}


class Ledger:
    """One shard: its stream, a writer, and questions to the tables."""

    def __init__(self, pool: Pool, redis: Redis) -> None:
        self.pool = pool
        self.redis = redis
        self.key = usage_key(SHARD)
        self.metrics = Recorder()
        self.stream = self.another_stream()
        self.writer = self.another_writer()

    def another_stream(self, **options: Any) -> UsageStream:
        return UsageStream(self.redis, self.key, **options)

    def another_writer(self, kind: type[LedgerWriter] = LedgerWriter, **options: Any) -> LedgerWriter:
        options.setdefault("metrics", self.metrics)
        options.setdefault("as_of_every_s", 0.0)
        stream = options.pop("stream", self.stream)
        return kind(self.pool, stream, options.pop("metrics"), shard=SHARD, **options)

    async def add(self, *events: UsageEvent | bytes, version: str = "1", late: bool = False) -> list[bytes]:
        ids = []
        for event in events:
            fields: dict[str, Any] = {"v": version, "e": event if isinstance(event, bytes) else encode(event)}
            ids.append(await self.redis.xadd(self.key, fields | ({"l": "1"} if late else {})))
        return ids

    async def settle(self, writer: LedgerWriter | None = None) -> None:
        """Until nothing is left to do."""
        while True:
            step = await (writer or self.writer).step()
            assert isinstance(step, Wrote), "another writer has the shard"
            if step.drained:
                return

    async def rows(self, table: str = "usage_events", order: str = "1, 2") -> list[dict[str, Any]]:
        return [dict(row) for row in await self.pool.fetch(f"SELECT * FROM {table} ORDER BY {order}")]

    async def billed(self) -> list[tuple[str, int]]:
        rows = await self.rows("billing_events", "kind DESC, amount_pusd")
        return [(row["kind"], row["amount_pusd"]) for row in rows]

    async def pending(self) -> int:
        groups = await self.redis.xinfo_groups(self.key)
        return int(groups[0]["pending"])

    async def hourly(self) -> dict[str, tuple[int, int, int]]:
        return {
            row["unit"]: (int(row["quantity"]), int(row["list_pusd"]), int(row["charge_pusd"]))
            for row in await self.rows("usage_hourly", "unit")
        }

    async def assert_sums(self) -> None:
        """Rollups are the sum of the rows, recounted here in Python; billing is what the rows owe."""
        events = await self.rows()
        for table, part in (("usage_hourly", "hour"), ("usage_daily", "day")):
            assert await self._rollup(table, part) == _recount(events, part)
        owed: Counter[UUID] = Counter()
        for row in events:
            if row["charge_kind"] != "none" and row["pricing"] == "priced":
                owed[row["attempt_id"]] += row["charge_pusd"]
        billed: Counter[UUID] = Counter()
        for row in await self.rows("billing_events"):
            if row["kind"] == "credit":
                continue
            billed[row["attempt_id"]] += row["amount_pusd"]
        assert +billed == +owed
        assert all(amount >= 0 for amount in billed.values())

    async def _rollup(self, table: str, part: str) -> dict[tuple[Any, ...], tuple[int, int, int]]:
        found = {}
        for row in await self.rows(table):
            sums = (int(row["quantity"]), int(row["list_pusd"]), int(row["charge_pusd"]))
            if any(sums):
                found[(row[part], *(row[name] for name in _DIMENSIONS), row["unit"])] = sums
        return found


_COUNTED = ("requests", "errors", "unpriced")  # rows are counted, whatever a line of that name says
_DIMENSIONS = ("workspace_id", "user_id", "virtual_key_id", "agent_id", "llm", "provider", "key_source", "service_tier")


def _recount(events: Iterable[dict[str, Any]], part: str) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in events:
        at = row["occurred_at"]
        moment = at.date() if part == "day" else at.replace(minute=0, second=0, microsecond=0)
        key = (moment, *(row[name] if row[name] is not None else UUID(int=0) for name in _DIMENSIONS))
        parts = [("requests", 1, 0, 0)]
        if row["outcome"] in ("upstream_error", "abandoned"):
            parts.append(("errors", 1, 0, 0))
        if row["pricing"] == "unpriced":
            parts.append(("unpriced", 1, 0, 0))
        if row["reasoning_tokens"]:
            parts.append(("reasoning", row["reasoning_tokens"], 0, 0))
        for unit, quantity, list_pusd, charge in zip(
            row["units"], row["quantities"], row["line_list_pusd"], row["line_charge_pusd"], strict=True
        ):
            parts.append((unit, 0 if unit in _COUNTED else quantity, list_pusd, charge))
        for unit, *amounts in parts:
            total = sums.setdefault((*key, unit), [0, 0, 0])
            for index, amount in enumerate(amounts):
                total[index] += amount
    return {key: (total[0], total[1], total[2]) for key, total in sums.items() if any(total)}


@pytest.fixture
async def ledger(pool: Pool, redis_url: str) -> AsyncIterator[Ledger]:
    async with open_redis(redis_url) as redis:
        yield Ledger(pool, redis)


@pytest.fixture(scope="session")
def event() -> Callable[..., UsageEvent]:
    return build_event


@pytest.fixture(scope="session")
def abandoned() -> Callable[..., UsageEvent]:
    return build_abandoned
