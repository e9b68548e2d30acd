"""SQL of price_versions and price_items: the live versions of routes, changes to them, and the lists that people read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pricing.price_text import PricePoint
from proxy.catalog.price_changes import Changes, Origin, Piece, Stored
from proxy.storage.keyset import Page, keyset
from proxy.storage.postgres import Connection
from proxy.wire.ids import uuid7

WRITE_S = 30.0
QUERY_S = 10.0
# Everybody who writes prices takes it: of two processes that start together one waits and then finds nothing to do.
SYNC_LOCK = 0x53796E_63617461

LIVE_VERSIONS = """
SELECT id, route_id, effective_from, effective_to, digest, origin, source FROM price_versions
WHERE route_id = ANY($1::uuid[]) AND superseded_at IS NULL
"""
# Only versions whose time has not come: no event can name them.
DROP_ITEMS = "DELETE FROM price_items WHERE version_id = ANY($1::uuid[])"
DROP_VERSIONS = "DELETE FROM price_versions WHERE id = ANY($1::uuid[])"
SUPERSEDE = "UPDATE price_versions SET superseded_at = $2 WHERE id = ANY($1::uuid[])"
END_VERSION = "UPDATE price_versions SET effective_to = $2 WHERE id = $1"
SOURCE_OF = "SELECT source, source_revision FROM price_versions WHERE id = $1"
POINTS_OF = """
SELECT unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing, from_minute, to_minute,
    minimum_units
FROM price_items WHERE version_id = $1
"""
ADD_VERSION = """
INSERT INTO price_versions (id, route_id, effective_from, effective_to, source, source_revision, digest, origin)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
ADD_ITEMS = """
INSERT INTO price_items (id, version_id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant,
    processing, from_minute, to_minute, minimum_units)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
    $8::text[], $9::text[], $10::smallint[], $11::smallint[], $12::bigint[])
"""
ROUTES = """
SELECT r.id, l.name AS llm, p.name AS provider, r.upstream_model
FROM routes r JOIN llms l ON l.id = r.llm_id JOIN providers p ON p.id = r.provider_id
WHERE r.status = 'active' AND l.status = 'active' AND p.status = 'active'
    AND ($1::text IS NULL OR l.name = $1) AND ($2::text IS NULL OR p.name = $2)
    AND ($3::text IS NULL OR r.upstream_model = $3)
ORDER BY l.name, r.position, r.id
"""
VERSION_COLUMNS = """
SELECT v.id, v.route_id, l.name AS llm, p.name AS provider, r.upstream_model, v.origin, v.source, v.source_revision,
    v.effective_from, v.effective_to, v.superseded_at, v.created_at
FROM price_versions v JOIN routes r ON r.id = v.route_id JOIN llms l ON l.id = r.llm_id
    JOIN providers p ON p.id = r.provider_id
"""
LIST_VERSIONS = keyset(VERSION_COLUMNS + """
WHERE ($1::text IS NULL OR l.name = $1) AND ($2::text IS NULL OR p.name = $2) AND ($3::text IS NULL OR v.origin = $3)
    AND ($4::timestamptz IS NULL OR
        (v.effective_from <= $4 AND (v.effective_to IS NULL OR v.effective_to > $4) AND r.status = 'active'))
    AND ($5::boolean OR v.superseded_at IS NULL) AND ($6::uuid IS NULL OR v.id <beyond> $6)
ORDER BY v.id <order> LIMIT $7
""")
GET_VERSION = VERSION_COLUMNS + "WHERE v.id = $1"
OF_ITEMS = VERSION_COLUMNS + "WHERE v.id IN (SELECT version_id FROM price_items WHERE id = ANY($1::uuid[])) ORDER BY v.id"  # noqa: S608
ITEMS = """
SELECT version_id, id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing, from_minute,
    to_minute, minimum_units
FROM price_items WHERE version_id = ANY($1::uuid[])
ORDER BY version_id, processing, service_tier, above_input_tokens, from_minute, to_minute, id
"""


@dataclass(frozen=True, slots=True)
class PricedRoute:
    """An llm at a provider, as prices name it."""

    id: UUID
    llm: str
    provider: str
    upstream_model: str


@dataclass(frozen=True, slots=True)
class ItemRow:
    id: UUID
    point: PricePoint


@dataclass(frozen=True, slots=True)
class VersionRow:
    id: UUID
    route_id: UUID
    llm: str
    provider: str
    upstream_model: str
    origin: Origin
    source: str
    source_revision: str
    effective_from: datetime
    effective_to: datetime | None
    superseded_at: datetime | None
    created_at: datetime
    items: tuple[ItemRow, ...]


@dataclass(frozen=True, slots=True)
class VersionFilter:
    """`at`: in force at that moment. `replaced`: also those that were superseded."""

    llm: str | None = None
    provider: str | None = None
    origin: Origin | None = None
    at: datetime | None = None
    replaced: bool = False


async def lock(db: Connection, *, timeout_s: float = WRITE_S) -> datetime:
    """Until the transaction ends nobody else writes prices. Returns the time, as it is once the lock is held."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", SYNC_LOCK, timeout=timeout_s)
    now: datetime = await db.fetchval("SELECT clock_timestamp()", timeout=timeout_s)
    return now


async def live_versions(
    db: Connection, route_ids: Collection[UUID], *, timeout_s: float = WRITE_S
) -> Mapping[UUID, list[Stored]]:
    found: defaultdict[UUID, list[Stored]] = defaultdict(list)
    for row in await db.fetch(LIVE_VERSIONS, list(route_ids), timeout=timeout_s):
        found[row["route_id"]].append(Stored(
            row["id"], row["effective_from"], row["effective_to"], row["digest"], row["origin"], row["source"]
        ))
    return found


async def apply(
    db: Connection, route_id: UUID, changes: Changes, now: datetime, *, timeout_s: float = WRITE_S
) -> list[UUID]:
    """In the caller's transaction, under `lock`. Returns the ids of the new versions, in the order of `changes.adds`."""
    contents = [await _content(db, piece, timeout_s) for piece in changes.adds]  # a copied version may be dropped below
    if changes.drops:
        await db.execute(DROP_ITEMS, changes.drops, timeout=timeout_s)
        await db.execute(DROP_VERSIONS, changes.drops, timeout=timeout_s)
    if changes.supersedes:
        await db.execute(SUPERSEDE, changes.supersedes, now, timeout=timeout_s)
    for version_id, end in changes.ends.items():
        await db.execute(END_VERSION, version_id, end, timeout=timeout_s)
    added: list[UUID] = []
    for piece, (source, revision, points) in zip(changes.adds, contents, strict=True):
        version_id = new_id()
        await db.execute(
            ADD_VERSION, version_id, route_id, piece.effective_from, piece.effective_to, source, revision, piece.digest,
            piece.origin, timeout=timeout_s,
        )
        items = columns(((new_id(), version_id, *point) for point in points), 12)
        await db.execute(ADD_ITEMS, *items, timeout=timeout_s)
        added.append(version_id)
    return added


async def _content(db: Connection, piece: Piece, timeout_s: float) -> tuple[str, str, Sequence[PricePoint]]:
    """Source, its revision, price points."""
    if not isinstance(piece.content, UUID):
        return piece.content.source, piece.content.source_revision, piece.content.points
    row = await db.fetchrow(SOURCE_OF, piece.content, timeout=timeout_s)
    if row is None:
        raise LookupError(f"there is no price version {piece.content} to copy")
    return row["source"], row["source_revision"], await points_of(db, piece.content, timeout_s=timeout_s)


async def points_of(db: Connection, version_id: UUID, *, timeout_s: float = WRITE_S) -> tuple[PricePoint, ...]:
    rows = await db.fetch(POINTS_OF, version_id, timeout=timeout_s)
    return tuple(sorted(PricePoint(*row.values()) for row in rows))


async def routes(
    db: Connection, *, llm: str | None = None, provider: str | None = None, upstream_model: str | None = None
) -> list[PricedRoute]:
    """Those that requests can take."""
    rows = await db.fetch(ROUTES, llm, provider, upstream_model, timeout=QUERY_S)
    return [PricedRoute(**dict(row)) for row in rows]


async def list_versions(db: Connection, wanted: VersionFilter, page: Page) -> list[VersionRow]:
    rows = await db.fetch(
        LIST_VERSIONS.of(page), wanted.llm, wanted.provider, wanted.origin, wanted.at, wanted.replaced, page.after,
        page.limit + 1, timeout=QUERY_S,
    )
    return await _with_items(db, [dict(row) for row in rows])


async def get_version(db: Connection, id: UUID) -> VersionRow | None:
    row = await db.fetchrow(GET_VERSION, id, timeout=QUERY_S)
    return None if row is None else (await _with_items(db, [dict(row)]))[0]


async def versions_of_items(db: Connection, item_ids: Collection[UUID]) -> list[VersionRow]:
    """Whatever has become of them since: events name items for ever."""
    return await _with_items(db, [dict(row) for row in await db.fetch(OF_ITEMS, list(item_ids), timeout=QUERY_S)])


async def _with_items(db: Connection, rows: Sequence[Mapping[str, Any]]) -> list[VersionRow]:
    items: defaultdict[UUID, list[ItemRow]] = defaultdict(list)
    for row in await db.fetch(ITEMS, [row["id"] for row in rows], timeout=QUERY_S):
        version_id, id, *point = row.values()
        items[version_id].append(ItemRow(id, PricePoint(*point)))
    return [VersionRow(**row, items=tuple(items[row["id"]])) for row in rows]


def columns(rows: Iterable[tuple[object, ...]], width: int) -> list[list[object]]:
    """Rows → a list per column, as `unnest` takes them; also for no rows at all."""
    turned = list(zip(*rows, strict=True))
    return [list(column) for column in turned] if turned else [[] for _ in range(width)]


def new_id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000)
