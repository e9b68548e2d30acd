"""SQL of providers, llms, routes, units, price_versions, price_items."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID

from pricing import book
from pricing.book import DatedPrice
from pricing.price import PriceItem, PriceVersion
from pricing.price_text import digest
from pricing.units import UNITS
from proxy.catalog.plan import CatalogPlan, PriceBook, RoutePlan, price_history
from proxy.catalog.price_changes import Stored, price_changes
from proxy.catalog.route import Llm, Provider, Route
from proxy.catalog.snapshot import Catalog
from proxy.epochs import store as epochs
from proxy.storage.postgres import Connection
from proxy.wire.ids import NIL, uuid7

# Of two processes that start together one waits for the other and then finds nothing to do.
SYNC_LOCK = 0x53796E_63617461

# An attempt is rated by the price of its beginning; none is in flight for longer than this.
HISTORY_KEPT = timedelta(days=7)

UPSERT_UNITS = """
INSERT INTO units (name, kind, description) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, description = excluded.description
WHERE (units.kind, units.description) IS DISTINCT FROM (excluded.kind, excluded.description)
RETURNING name
"""
UPSERT_PROVIDERS = """
INSERT INTO providers (id, name, dialect, base_url, stream_usage, usage_reader, managed_by, status)
SELECT *, 'config', 'active' FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
ON CONFLICT (name) DO UPDATE SET dialect = excluded.dialect, base_url = excluded.base_url,
    stream_usage = excluded.stream_usage, usage_reader = excluded.usage_reader, managed_by = 'config', status = 'active'
WHERE (providers.dialect, providers.base_url, providers.stream_usage, providers.usage_reader, providers.managed_by,
       providers.status)
    IS DISTINCT FROM (excluded.dialect, excluded.base_url, excluded.stream_usage, excluded.usage_reader, 'config',
       'active')
RETURNING name
"""
REMOVE_PROVIDERS = """
UPDATE providers SET status = 'removed'
WHERE managed_by = 'config' AND status = 'active' AND name <> ALL($1::text[]) RETURNING name
"""
UPSERT_LLMS = """
INSERT INTO llms (id, name, context_window, max_output, managed_by, status)
SELECT *, 'config', 'active' FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[])
ON CONFLICT (name) DO UPDATE SET context_window = excluded.context_window, max_output = excluded.max_output,
    managed_by = 'config', status = 'active'
WHERE (llms.context_window, llms.max_output, llms.managed_by, llms.status)
    IS DISTINCT FROM (excluded.context_window, excluded.max_output, 'config', 'active')
RETURNING name
"""
REMOVE_LLMS = """
UPDATE llms SET status = 'removed'
WHERE managed_by = 'config' AND status = 'active' AND name <> ALL($1::text[]) RETURNING name
"""
UPSERT_ROUTES = """
INSERT INTO routes (id, llm_id, provider_id, upstream_model, position, status)
SELECT wanted.id, llms.id, providers.id, wanted.upstream_model, wanted.position, 'active'
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[])
    AS wanted (id, llm, provider, upstream_model, position)
JOIN llms ON llms.name = wanted.llm JOIN providers ON providers.name = wanted.provider
ON CONFLICT (llm_id, provider_id, upstream_model) DO UPDATE SET position = excluded.position, status = 'active'
WHERE (routes.position, routes.status) IS DISTINCT FROM (excluded.position, 'active')
RETURNING id
"""
# A config llm has the routes of config.yaml and no others.
REMOVE_ROUTES = """
UPDATE routes SET status = 'removed' FROM llms, providers
WHERE llms.id = routes.llm_id AND providers.id = routes.provider_id AND llms.managed_by = 'config'
    AND routes.status = 'active'
    AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (llm, provider, upstream_model)
        WHERE wanted.llm = llms.name AND wanted.provider = providers.name
            AND wanted.upstream_model = routes.upstream_model)
RETURNING routes.id
"""
WANTED_ROUTES = """
SELECT routes.id, wanted.number
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[]) AS wanted (number, llm, provider, upstream_model)
JOIN llms ON llms.name = wanted.llm JOIN providers ON providers.name = wanted.provider
JOIN routes ON routes.llm_id = llms.id AND routes.provider_id = providers.id
    AND routes.upstream_model = wanted.upstream_model
"""
VERSIONS_OF = """
SELECT id, route_id, effective_from, effective_to, digest FROM price_versions WHERE route_id = ANY($1::uuid[])
"""
END_VERSION = "UPDATE price_versions SET effective_to = $2 WHERE id = $1"
# Only versions whose time has not come: no event can name them.
DROP_ITEMS = "DELETE FROM price_items WHERE version_id = ANY($1::uuid[])"
DROP_VERSIONS = "DELETE FROM price_versions WHERE id = ANY($1::uuid[])"
ADD_VERSION = """
INSERT INTO price_versions (id, route_id, effective_from, effective_to, source, source_revision, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
ADD_ITEMS = """
INSERT INTO price_items (id, version_id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant,
    processing, from_minute, to_minute, minimum_units)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
    $8::text[], $9::text[], $10::smallint[], $11::smallint[], $12::bigint[])
"""

LOAD_PROVIDERS = "SELECT id, name, dialect, base_url, stream_usage, usage_reader FROM providers WHERE status = 'active'"
LOAD_LLMS = """
SELECT id, name, context_window, max_output, extract(epoch FROM created_at)::bigint AS created_at_s
FROM llms WHERE status = 'active' ORDER BY name
"""
LOAD_ROUTES = """
SELECT id, llm_id, provider_id, upstream_model FROM routes WHERE status = 'active' ORDER BY llm_id, position, id
"""
LOAD_VERSIONS = """
SELECT v.id, v.route_id, v.effective_from, v.effective_to, v.source
FROM price_versions v JOIN routes r ON r.id = v.route_id AND r.status = 'active'
WHERE v.effective_to IS NULL OR v.effective_to > now() - $1::interval
ORDER BY v.route_id, v.effective_from DESC
"""
LOAD_ITEMS = """
SELECT version_id, id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing, from_minute,
    to_minute, minimum_units
FROM price_items WHERE version_id = ANY($1::uuid[]) ORDER BY version_id, unit, service_tier, above_input_tokens, id
"""


async def load(conn: Connection, *, timeout_s: float = 5.0) -> Catalog:
    """Everything active, as of one moment, with the epoch of that moment. Not inside a transaction of the caller's."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        epoch = (await epochs.read(conn, [NIL], timeout_s=timeout_s)).get(NIL, 0)
        providers = {
            row["id"]: Provider(
                row["id"], row["name"], row["dialect"], row["base_url"], row["stream_usage"], row["usage_reader"]
            )
            for row in await conn.fetch(LOAD_PROVIDERS, timeout=timeout_s)
        }
        prices = await _load_prices(conn, timeout_s)
        routes: defaultdict[UUID, list[Route]] = defaultdict(list)
        for row in await conn.fetch(LOAD_ROUTES, timeout=timeout_s):
            provider = providers.get(row["provider_id"])
            if provider is not None:
                versions = tuple(prices.get(row["id"], ()))
                routes[row["llm_id"]].append(Route(row["id"], provider, row["upstream_model"], versions))
        llms = {
            row["name"]: Llm(
                row["id"], row["name"], row["context_window"], row["max_output"], tuple(routes[row["id"]]),
                row["created_at_s"],
            )
            for row in await conn.fetch(LOAD_LLMS, timeout=timeout_s)
        }
    return Catalog(epoch, llms)


async def _load_prices(conn: Connection, timeout_s: float) -> Mapping[UUID, list[PriceVersion]]:
    rows = await conn.fetch(LOAD_VERSIONS, HISTORY_KEPT, timeout=timeout_s)
    items: defaultdict[UUID, list[PriceItem]] = defaultdict(list)
    for row in await conn.fetch(LOAD_ITEMS, [row["id"] for row in rows], timeout=timeout_s):
        version_id, *fields = row.values()
        items[version_id].append(PriceItem(*fields))
    prices: defaultdict[UUID, list[PriceVersion]] = defaultdict(list)
    for row in rows:
        prices[row["route_id"]].append(PriceVersion(
            row["id"], row["effective_from"], row["effective_to"], row["source"], tuple(items[row["id"]])
        ))
    return prices


async def sync(conn: Connection, plan: CatalogPlan, *, find: PriceBook = book.find, timeout_s: float = 30.0) -> bool:
    """Make the rows that config.yaml manages what `plan` says. True where anything changed; then the global epoch rose.

    In one transaction (the caller's, if there is one). What left the file is marked removed: events name it.
    """
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", SYNC_LOCK, timeout=timeout_s)
        changed = await _sync_units(conn, timeout_s)
        changed |= await _sync_names(conn, plan, timeout_s)
        changed |= await _sync_prices(conn, plan, find, timeout_s)
        if changed:
            await epochs.bump(conn, NIL, timeout_s=timeout_s)
    return changed


async def _sync_units(conn: Connection, timeout_s: float) -> bool:
    """Units that left the registry stay: price items name them."""
    columns = _columns(((unit.name, unit.kind, unit.description) for unit in UNITS.values()), 3)
    return bool(await conn.fetch(UPSERT_UNITS, *columns, timeout=timeout_s))


async def _sync_names(conn: Connection, plan: CatalogPlan, timeout_s: float) -> bool:
    count = len(plan.providers) + len(plan.llms) + sum(len(llm.routes) for llm in plan.llms)
    ids = iter(sorted(_new_id() for _ in range(count)))  # lists are in the order of ids: keep the file's
    providers = _columns(
        ((next(ids), p.name, p.dialect, p.base_url, p.stream_usage, p.usage_reader) for p in plan.providers), 6
    )
    llms = _columns(((next(ids), llm.name, llm.context_window, llm.max_output) for llm in plan.llms), 4)
    routes = _columns(
        ((next(ids), llm.name, route.provider, route.upstream_model, position)
         for llm in plan.llms for position, route in enumerate(llm.routes)), 5
    )
    changed = False
    for statement, arguments in (
        (UPSERT_PROVIDERS, providers),
        (UPSERT_LLMS, llms),
        (UPSERT_ROUTES, routes),
        (REMOVE_ROUTES, routes[1:4]),
        (REMOVE_LLMS, llms[1:2]),
        (REMOVE_PROVIDERS, providers[1:2]),
    ):
        changed |= bool(await conn.fetch(statement, *arguments, timeout=timeout_s))
    return changed


async def _sync_prices(conn: Connection, plan: CatalogPlan, find: PriceBook, timeout_s: float) -> bool:
    wanted = [(llm.name, route) for llm in plan.llms for route in llm.routes]
    named = _columns(((n, llm, r.provider, r.upstream_model) for n, (llm, r) in enumerate(wanted)), 4)
    routes: dict[UUID, RoutePlan] = {
        row["id"]: wanted[row["number"]][1] for row in await conn.fetch(WANTED_ROUTES, *named, timeout=timeout_s)
    }
    stored: defaultdict[UUID, list[Stored]] = defaultdict(list)
    for row in await conn.fetch(VERSIONS_OF, list(routes), timeout=timeout_s):
        stored[row["route_id"]].append(Stored(row["id"], row["effective_from"], row["effective_to"], row["digest"]))
    now = await conn.fetchval("SELECT clock_timestamp()", timeout=timeout_s)
    changed = False
    for route_id, route in routes.items():
        changes = price_changes(stored[route_id], price_history(route, find), now)
        if changes.drops:  # first: no two versions overlap at any moment
            await conn.execute(DROP_ITEMS, changes.drops, timeout=timeout_s)
            await conn.execute(DROP_VERSIONS, changes.drops, timeout=timeout_s)
        for version_id, end in changes.ends.items():
            await conn.execute(END_VERSION, version_id, end, timeout=timeout_s)
        for price in changes.adds:
            await _add_version(conn, route_id, price, timeout_s)
        changed |= any(changes)
    return changed


async def _add_version(conn: Connection, route_id: UUID, price: DatedPrice, timeout_s: float) -> None:
    version_id = _new_id()
    await conn.execute(
        ADD_VERSION, version_id, route_id, price.effective_from, price.effective_to, price.source,
        price.source_revision, digest(price.points), timeout=timeout_s,
    )
    await conn.execute(
        ADD_ITEMS, *_columns(((_new_id(), version_id, *point) for point in price.points), 12), timeout=timeout_s
    )


def _columns(rows: Iterable[tuple[object, ...]], width: int) -> list[list[object]]:
    """Rows → a list per column, as `unnest` takes them; also for no rows at all."""
    turned = list(zip(*rows, strict=True))
    return [list(column) for column in turned] if turned else [[] for _ in range(width)]


def _new_id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000)
