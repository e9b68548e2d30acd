"""SQL that reads `providers`, `llms`, `routes` and the prices in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pricing.price_text import PricePoint
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection

QUERY_S = 10.0

LIST_PROVIDERS = keyset("""
SELECT id, name, dialect, base_url, managed_by, status, created_at FROM providers
WHERE ($1::text IS NULL OR name = $1) AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR id <beyond> $3)
ORDER BY id <order> LIMIT $4
""")
GET_PROVIDER = "SELECT id, name, dialect, base_url, managed_by, status, created_at FROM providers WHERE id = $1"
PROVIDER_NAMES = "SELECT name FROM providers WHERE status = 'active' ORDER BY name"
LIST_LLMS = keyset("""
SELECT id, name, context_window, max_output, managed_by, status, created_at FROM llms
WHERE ($1::text IS NULL OR name = $1) AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR id <beyond> $3)
ORDER BY id <order> LIMIT $4
""")
GET_LLM = "SELECT id, name, context_window, max_output, managed_by, status, created_at FROM llms WHERE id = $1"
LLM_NAMES = "SELECT name FROM llms WHERE status = 'active' ORDER BY name"
ROUTES = """
SELECT r.id, r.llm_id, p.name AS provider, r.upstream_model, v.id AS version_id, v.effective_from, v.source
FROM routes r JOIN providers p ON p.id = r.provider_id
     LEFT JOIN LATERAL (
         SELECT id, effective_from, source FROM price_versions
         WHERE route_id = r.id AND superseded_at IS NULL AND effective_from <= $2
             AND (effective_to IS NULL OR effective_to > $2)
         ORDER BY effective_from DESC LIMIT 1) v ON true
WHERE r.llm_id = ANY($1::uuid[]) AND r.status = 'active' ORDER BY r.llm_id, r.position, r.id
"""
ITEMS = """
SELECT version_id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing, from_minute,
    to_minute, minimum_units
FROM price_items WHERE version_id = ANY($1::uuid[])
ORDER BY version_id, processing, service_tier, above_input_tokens, from_minute, unit, variant
"""


@dataclass(frozen=True, slots=True)
class ProviderRow:
    id: UUID
    name: str
    dialect: str
    base_url: str
    managed_by: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RouteRow:
    """`prices` None: no price is in force."""

    id: UUID
    provider: str
    upstream_model: str
    effective_from: datetime | None
    source: str | None
    prices: tuple[PricePoint, ...] | None


@dataclass(frozen=True, slots=True)
class LlmRow:
    id: UUID
    name: str
    context_window: int | None
    max_output: int | None
    managed_by: str
    status: str
    created_at: datetime
    routes: tuple[RouteRow, ...]


async def list_providers(db: Connection, *, name: str | None, status: str | None, page: Page) -> list[ProviderRow]:
    rows = await db.fetch(LIST_PROVIDERS.of(page), name, status, page.after, page.limit + 1, timeout=QUERY_S)
    return [ProviderRow(**dict(row)) for row in rows]


async def get_provider(db: Connection, id: UUID) -> ProviderRow | None:
    row = await db.fetchrow(GET_PROVIDER, id, timeout=QUERY_S)
    return None if row is None else ProviderRow(**dict(row))


async def provider_names(db: Connection) -> list[str]:
    return [row["name"] for row in await db.fetch(PROVIDER_NAMES, timeout=QUERY_S)]


async def llm_names(db: Connection) -> list[str]:
    return [row["name"] for row in await db.fetch(LLM_NAMES, timeout=QUERY_S)]


async def list_llms(db: Connection, *, name: str | None, status: str | None, now: datetime, page: Page) -> list[LlmRow]:
    rows = await db.fetch(LIST_LLMS.of(page), name, status, page.after, page.limit + 1, timeout=QUERY_S)
    routes = await _routes(db, [row["id"] for row in rows], now)
    return [LlmRow(**dict(row), routes=tuple(routes.get(row["id"], ()))) for row in rows]


async def get_llm(db: Connection, id: UUID, *, now: datetime) -> LlmRow | None:
    row = await db.fetchrow(GET_LLM, id, timeout=QUERY_S)
    if row is None:
        return None
    return LlmRow(**dict(row), routes=tuple((await _routes(db, [id], now)).get(id, ())))


async def _routes(db: Connection, llm_ids: Sequence[UUID], now: datetime) -> dict[UUID, list[RouteRow]]:
    routes = await db.fetch(ROUTES, llm_ids, now, timeout=QUERY_S)
    versions = [row["version_id"] for row in routes if row["version_id"] is not None]
    items: dict[UUID, list[PricePoint]] = {version: [] for version in versions}
    for row in await db.fetch(ITEMS, versions, timeout=QUERY_S):
        version_id, *point = row.values()
        items[version_id].append(PricePoint(*point))
    found: dict[UUID, list[RouteRow]] = {}
    for row in routes:
        version = row["version_id"]
        found.setdefault(row["llm_id"], []).append(
            RouteRow(
                id=row["id"],
                provider=row["provider"],
                upstream_model=row["upstream_model"],
                effective_from=row["effective_from"],
                source=row["source"],
                prices=None if version is None else tuple(items[version]),
            )  # fmt: skip
        )
    return found
