"""A workspace, one llm at one provider, and prices that a test sets."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from proxy.ledger.corrections.rerate import Rerated, Wanted, rerate
from proxy.ledger.corrections.store import Author
from proxy.ledger.partitions import store as partitions
from proxy.storage.postgres import Pool
from proxy.wire.ids import uuid7
from tests.proxy.ledger.conftest import WORKSPACE, Ledger

AUTHOR = Author("management_key", UUID(int=9), "a price was missing")
ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


def new_id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000)


class House:
    """`events` are of `gpt-4o-mini` at `openai`, as the ledger's fixtures build them."""

    def __init__(self, pool: Pool, ledger: Ledger) -> None:
        self.pool = pool
        self.ledger = ledger
        self.route = uuid4()
        self.now = datetime.now(UTC)

    async def furnish(self) -> None:
        provider, llm = uuid4(), uuid4()
        self.llm_id = llm
        await self.pool.execute("INSERT INTO workspaces (id, name) VALUES ($1, 'w')", WORKSPACE)
        await self.pool.execute(
            "INSERT INTO providers (id, name, dialect, base_url, managed_by) VALUES ($1, 'openai', 'openai', '', 'config')",
            provider,
        )
        await self.pool.execute(
            "INSERT INTO llms (id, name, managed_by) VALUES ($1, 'gpt-4o-mini', 'config')", llm
        )
        await self.pool.execute(
            "INSERT INTO routes (id, llm_id, provider_id, upstream_model, position) VALUES ($1, $2, $3, 'gpt-4o-mini', 0)",
            self.route, llm, provider,
        )  # fmt: skip
        await self.pool.execute(
            "INSERT INTO units SELECT *, 'token', '' FROM unnest($1::text[]) ON CONFLICT DO NOTHING",
            ["input", "cache_read", "output", "web_searches", "requests"],
        )

    async def days(self, *days: datetime) -> None:
        async with self.pool.acquire() as db:
            await partitions.ensure(db, {day.date() for day in days} | {self.now.date()})

    async def price(self, since: datetime = ALWAYS, until: datetime | None = None, **pusd: int) -> dict[str, UUID]:
        """Items by unit."""
        version = uuid4()
        await self.pool.execute(
            "UPDATE price_versions SET superseded_at = now() WHERE route_id = $1 AND superseded_at IS NULL"
            " AND tstzrange(effective_from, effective_to) && tstzrange($2, $3)",
            self.route, since, until,
        )  # fmt: skip
        await self.pool.execute(
            "INSERT INTO price_versions (id, route_id, effective_from, effective_to, source, digest)"
            " VALUES ($1, $2, $3, $4, 'test', $5)",
            version, self.route, since, until, str(next(_numbers)),
        )  # fmt: skip
        items = {unit: uuid4() for unit in pusd}
        for unit, amount in pusd.items():
            await self.pool.execute(
                "INSERT INTO price_items (id, version_id, unit, price_pusd) VALUES ($1, $2, $3, $4)",
                items[unit], version, unit, amount,
            )  # fmt: skip
        return items

    async def plan(self, **fields: Any) -> None:
        await self.pool.execute("DELETE FROM plans")
        names = ", ".join(fields)
        marks = ", ".join(f"${number}" for number in range(4, 4 + len(fields)))
        await self.pool.execute(
            f"INSERT INTO plans (id, workspace_id, effective_from, {names}) VALUES ($1, $2, $3, {marks})",
            uuid4(), WORKSPACE, ALWAYS, *fields.values(),
        )  # fmt: skip

    async def batch(self, *, dry_run: bool = False, **wanted: Any) -> Rerated:
        wanted = {"since": self.now - timedelta(days=30), "until": self.now + timedelta(days=1)} | wanted
        async with self.pool.acquire() as db, db.transaction():
            return await rerate(
                db, Wanted(**wanted), AUTHOR, dry_run=dry_run, now=self.now, new_id=new_id
            )

    async def everything(self, **options: Any) -> Rerated:
        """All batches, added up."""
        total = Rerated()
        while True:
            done = await self.batch(place=total.place, **options)
            for name in ("examined", "left", "changed", "became_priced", "unpriced", "list_pusd", "charge_pusd"):
                setattr(total, name, getattr(total, name) + getattr(done, name))
            total.place = done.place
            if done.place is None:
                return total

    async def entries(self) -> list[tuple[str, int]]:
        rows = await self.pool.fetch("SELECT kind, amount_pusd FROM billing_events ORDER BY id")
        return [(row["kind"], row["amount_pusd"]) for row in rows]


@pytest.fixture
async def house(pool: Pool, ledger: Ledger) -> House:
    house = House(pool, ledger)
    await house.furnish()
    await house.days()
    return house
