"""SQL of providers, llms, routes, units; prices are read here and written by catalog/prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from pricing import book
from pricing.price import PriceItem, PriceVersion
from pricing.units import UNITS
from proxy.catalog.plan import CatalogPlan, PriceBook, RoutePlan
from proxy.catalog.price_changes import price_changes
from proxy.catalog.prices import store as prices_store
from proxy.catalog.prices.precedence import wanted_of
from proxy.catalog.prices.store import columns, new_id
from proxy.catalog.route import Llm, Provider, Route
from proxy.catalog.snapshot import Catalog
from proxy.epochs import store as epochs
from proxy.storage.postgres import Connection
from proxy.wire.ids import NIL

# An attempt is rated by the price of its beginning; none is in flight for longer than this.
HISTORY_KEPT = timedelta(days=7)

UPSERT_UNITS = """
INSERT INTO units (name, kind, description) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, description = excluded.description
WHERE (units.kind, units.description) IS DISTINCT FROM (excluded.kind, excluded.description)
RETURNING name
"""
UPSERT_PROVIDERS = """
INSERT INTO providers (id, name, dialect, base_url, stream_usage, usage_reader, tier_word, managed_by, status)
SELECT *, 'config', 'active'
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
ON CONFLICT (name) DO UPDATE SET dialect = excluded.dialect, base_url = excluded.base_url,
    stream_usage = excluded.stream_usage, usage_reader = excluded.usage_reader, tier_word = excluded.tier_word,
    managed_by = 'config', status = 'active'
WHERE (providers.dialect, providers.base_url, providers.stream_usage, providers.usage_reader, providers.tier_word,
       providers.managed_by, providers.status)
    IS DISTINCT FROM (excluded.dialect, excluded.base_url, excluded.stream_usage, excluded.usage_reader,
       excluded.tier_word, 'config', 'active')
RETURNING name
"""
REMOVE_PROVIDERS = """
UPDATE providers SET status = 'removed'
WHERE managed_by = 'config' AND status = 'active' AND name <> ALL($1::text[]) RETURNING name
"""
UPSERT_LLMS = """
INSERT INTO llms (id, name, context_window, max_output, unpriced, managed_by, status)
SELECT *, 'config', 'active' FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::text[])
ON CONFLICT (name) DO UPDATE SET context_window = excluded.context_window, max_output = excluded.max_output,
    unpriced = excluded.unpriced, managed_by = 'config', status = 'active'
WHERE (llms.context_window, llms.max_output, llms.unpriced, llms.managed_by, llms.status)
    IS DISTINCT FROM (excluded.context_window, excluded.max_output, excluded.unpriced, 'config', 'active')
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
LOAD_PROVIDERS = """
SELECT id, name, dialect, base_url, stream_usage, usage_reader, tier_word FROM providers WHERE status = 'active'
"""
LOAD_LLMS = """
SELECT id, name, context_window, max_output, extract(epoch FROM created_at)::bigint AS created_at_s, unpriced
FROM llms WHERE status = 'active' ORDER BY name
"""
LOAD_ROUTES = """
SELECT id, llm_id, provider_id, upstream_model FROM routes WHERE status = 'active' ORDER BY llm_id, position, id
"""
LOAD_VERSIONS = """
SELECT v.id, v.route_id, v.effective_from, v.effective_to, v.source
FROM price_versions v JOIN routes r ON r.id = v.route_id AND r.status = 'active'
WHERE v.superseded_at IS NULL AND (v.effective_to IS NULL OR v.effective_to > now() - $1::interval)
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
            row["id"]: Provider(*row.values())
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
                row["created_at_s"], row["unpriced"],
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
        await prices_store.lock(conn, timeout_s=timeout_s)
        changed = await _sync_units(conn, timeout_s)
        changed |= await _sync_names(conn, plan, timeout_s)
        changed |= await _sync_prices(conn, plan, find, timeout_s)
        if changed:
            await epochs.bump(conn, NIL, timeout_s=timeout_s)
    return changed


async def _sync_units(conn: Connection, timeout_s: float) -> bool:
    """Units that left the registry stay: price items name them."""
    units = columns(((unit.name, unit.kind, unit.description) for unit in UNITS.values()), 3)
    return bool(await conn.fetch(UPSERT_UNITS, *units, timeout=timeout_s))


async def _sync_names(conn: Connection, plan: CatalogPlan, timeout_s: float) -> bool:
    count = len(plan.providers) + len(plan.llms) + sum(len(llm.routes) for llm in plan.llms)
    ids = iter(sorted(new_id() for _ in range(count)))  # lists are in the order of ids: keep the file's
    providers = columns(
        ((next(ids), p.name, p.dialect, p.base_url, p.stream_usage, p.usage_reader, p.tier_word) for p in plan.providers), 7
    )
    llms = columns(
        ((next(ids), llm.name, llm.context_window, llm.max_output, llm.unpriced) for llm in plan.llms), 5
    )
    routes = columns(
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
    named = columns(((n, llm, r.provider, r.upstream_model) for n, (llm, r) in enumerate(wanted)), 4)
    routes: dict[UUID, RoutePlan] = {
        row["id"]: wanted[row["number"]][1] for row in await conn.fetch(WANTED_ROUTES, *named, timeout=timeout_s)
    }
    stored = await prices_store.live_versions(conn, routes, timeout_s=timeout_s)
    now = await conn.fetchval("SELECT clock_timestamp()", timeout=timeout_s)
    changed = False
    for route_id, route in routes.items():
        versions = stored.get(route_id, [])
        changes = price_changes(versions, wanted_of(route, versions, find, now), now)
        if any(changes):
            await prices_store.apply(conn, route_id, changes, now, timeout_s=timeout_s)
            changed = True
    return changed
