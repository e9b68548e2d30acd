"""`/prices`: what an llm costs at a provider, from when until when, and who says so."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pricing import book
from pricing.book import Book
from pricing.money import format_usd
from pricing.price_text import PricePoint, amount_text, read_price, write_price
from proxy.api.endpoint import Call, Endpoint, Read, Write, listing, page_of, render
from proxy.api.schema import (
    Listing,
    ListQuery,
    LlmName,
    Moment,
    Part,
    PriceId,
    PriceItemId,
    ProviderName,
    RouteId,
    Text,
    Usd,
    When,
)
from proxy.audit.write import Change
from proxy.catalog.prices import custom, imports, store
from proxy.catalog.prices.custom import Done
from proxy.catalog.prices.steps import Step, counted
from proxy.catalog.prices.store import ItemRow, PricedRoute, VersionFilter, VersionRow
from proxy.catalog.prices.wording import hours_of
from proxy.catalog.reading.names import require_llm
from proxy.storage.postgres import Connection
from proxy.wire.ids import NIL
from proxy.wire.refusals import Reason, Refused

ID = {"id": "pver"}
# A whole price book is a third of a megabyte.
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
EVERYWHERE = frozenset([NIL])
Origin = Literal["config", "book", "import", "custom"]


class PriceItemObject(Part):
    """What one unit costs, and when that holds."""

    id: PriceItemId
    """What the lines of usage events name."""
    unit: str
    variant: str
    """Of the unit, such as `1024x1024/high` of `images`. Empty: any."""
    service_tier: str
    """Empty: the standard tier."""
    processing: str
    """`batch`; empty: not in a batch."""
    above_input_tokens: int
    """Applies to a whole attempt whose input exceeds this."""
    hours: str | None
    """Of the UTC day in which the request starts, such as `16:30-00:30`. Null: all day."""
    minimum_units: int
    """Fewer are billed as so many."""
    price: str
    """USD per million tokens, or per counted thing, exact, as config.yaml writes it; `USD/units` where that is no decimal."""
    usd: Usd
    """What `per_units` units cost, exact."""
    per_units: int


class LinePriceObject(PriceItemObject):
    """A price item that lines of a usage event follow from, and the price that it is of."""

    price_id: PriceId
    llm: str
    upstream_model: str
    source: str
    effective_from: datetime
    """1970-01-01: always."""
    effective_to: datetime | None


class PriceVersionObject(Part):
    """The price of an llm at a provider over a time. It is never changed; another one ends or supersedes it."""

    id: PriceId
    object: Literal["price"] = "price"
    llm: str
    provider: str
    upstream_model: str
    route_id: RouteId
    origin: Origin
    """`config`: config.yaml; `custom`: set here; `import`: an imported price book; `book`: the one that ships."""
    source: str
    source_revision: str
    effective_from: datetime
    """1970-01-01: always."""
    effective_to: datetime | None
    """The first moment at which it does not hold. Null: until further notice."""
    superseded_at: datetime | None
    """Since when another price is in its place for all of its time. Usage events may still name its items."""
    price: dict[str, Any]
    """As config.yaml writes it."""
    items: list[PriceItemObject]
    created_at: datetime


class PriceList(Listing[PriceVersionObject]):
    """Prices."""


class PriceQuery(ListQuery):
    after: PriceId | None = None
    llm: LlmName | None = None
    provider: ProviderName | None = None
    origin: Origin | None = None
    at: When | None = None
    """Only those in force at this moment."""
    superseded: Literal["without", "with"] = "without"


class NewPrice(Part):
    llm: LlmName
    provider: ProviderName | None = None
    """May be left out where the llm has one route."""
    upstream_model: Text | None = None
    """May be left out where the llm has one route at that provider."""
    price: dict[str, Any]
    """As config.yaml writes it: USD as text, per million tokens or per counted thing."""
    effective_from: Moment | None = None
    """It may be past: what was charged stays until it is rated again. Default: now."""
    effective_to: Moment | None = None
    """The first moment at which it does not hold. Default: until further notice."""
    note: Text = ""
    """Why, or from where."""


class UnsetPrice(Part):
    llm: LlmName
    provider: ProviderName | None = None
    upstream_model: Text | None = None
    effective_from: Moment | None = None
    """From when on. Default: now."""


class ImportPrices(Part):
    document: dict[str, Any] | None = None
    """What `python -m pricing.data.convert --out FILE` writes. Default: the price book that ships with the gateway."""
    dry_run: bool = False
    """Tell what would change."""


class PriceStepObject(Part):
    """What happens to one price."""

    llm: str
    provider: str
    upstream_model: str
    action: Literal["added", "ended", "extended", "superseded", "dropped"]
    """`ended`, `extended`: it has another end; `superseded`: another price is in its place; `dropped`: its time had not
    come."""
    price_id: PriceId | None
    """Null: a new one."""
    origin: Origin
    source: str
    effective_from: datetime
    effective_to: datetime | None
    price: dict[str, Any]


class PriceChanges(Part):
    object: Literal["price_changes"] = "price_changes"
    changes: list[PriceStepObject]


class ImportedPrices(PriceChanges):
    dry_run: bool
    source: str
    source_revision: str
    routes_changed: int
    routes_unchanged: int
    routes_unknown: int
    """That book has no price for them: they keep theirs."""
    routes_of_config: int
    """config.yaml names their price."""


class SetPriceObject(PriceVersionObject):
    changes: list[PriceStepObject]
    """What made room for it, itself included. Empty: it was there already."""


async def list_all(call: Call, db: Connection, query: PriceQuery) -> PriceList:
    wanted = VersionFilter(query.llm, query.provider, query.origin, query.at, query.superseded == "with")
    rows = await store.list_versions(db, wanted, page_of(query, query.after))
    return PriceList(**listing(rows, query.limit, show))


async def get(call: Call, db: Connection, query: object) -> PriceVersionObject:
    row = await store.get_version(db, call.path["id"])
    if row is None:
        raise Refused(Reason.NOT_FOUND, "No such price. GET /api/v1/prices lists them.")
    return show(row)


async def set_price(call: Call, db: Connection, body: NewPrice) -> Change:
    points = _points(body.price)
    route = await _route(db, body.llm, body.provider, body.upstream_model)
    done = await custom.set_price(
        db, route, points, since=body.effective_from, until=body.effective_to, note=body.note.strip()
    )
    row = None if done.version_id is None else await store.get_version(db, done.version_id)
    if row is None:
        raise LookupError("the price that was set is not there")
    fields = show(row).model_dump() | {"changes": [_step(step) for step in done.steps]}
    return _changed(route, done, render(SetPriceObject.model_validate(fields)), status=201, price=body.price)


async def unset_price(call: Call, db: Connection, body: UnsetPrice) -> Change:
    route = await _route(db, body.llm, body.provider, body.upstream_model)
    done = await custom.unset_price(db, route, since=body.effective_from, find=book.find)
    return _changed(route, done, render(PriceChanges(changes=[_step(step) for step in done.steps])))


async def import_all(call: Call, db: Connection, body: ImportPrices) -> Change:
    # Every price in it is read: a third of a second, in which other requests go on.
    source = await asyncio.to_thread(_book, body.document)
    try:
        imported = await imports.import_prices(db, source.find, dry_run=body.dry_run)
    except ValueError as problem:  # a price in it cannot be read
        raise Refused(Reason.BAD_VALUE, f"`document`: {problem}.", param="document") from None
    routes = imported.routes
    answer = ImportedPrices(
        changes=[_step(step) for step in imported.steps], dry_run=body.dry_run, source=source.name,
        source_revision=source.revision, routes_changed=routes["changed"], routes_unchanged=routes["unchanged"],
        routes_unknown=routes["unknown"], routes_of_config=routes["config"],
    )  # fmt: skip
    wrote = bool(imported.steps) and not body.dry_run
    return Change(
        body=render(answer), workspace_id=None, resource_id=None, scopes=EVERYWHERE if wrote else frozenset(),
        detail={
            "source": answer.source, "source_revision": answer.source_revision, "dry_run": body.dry_run,
            "routes": dict(routes), "versions": counted(imported.steps),
        },
    )  # fmt: skip


def _changed(route: PricedRoute, done: Done, body: bytes, *, status: int = 200, **detail: object) -> Change:
    """Prices are everybody's: the global epoch."""
    what = {"llm": route.llm, "provider": route.provider, "upstream_model": route.upstream_model}
    return Change(
        body=body, workspace_id=None, resource_id=done.version_id, status=status,
        scopes=EVERYWHERE if done.steps else frozenset(), detail={**what, **detail, "versions": counted(done.steps)},
    )  # fmt: skip


async def _route(db: Connection, llm: str, provider: str | None, upstream_model: str | None) -> PricedRoute:
    await require_llm(db, llm)
    routes = await store.routes(db, llm=llm)
    found = [r for r in routes if provider in (None, r.provider) and upstream_model in (None, r.upstream_model)]
    if len(found) == 1:
        return found[0]
    places = [f"{route.provider} ({route.upstream_model})" for route in routes]
    if not found:
        asked = provider or upstream_model or ""
        near = difflib.get_close_matches(asked, [route.provider for route in routes], n=1)
        hint = f" Near: {near[0]}." if near else ""
        raise Refused(
            Reason.BAD_VALUE, f"`{llm}` is not served there.{hint} It is at: {', '.join(places) or 'no provider'}.",
            param="provider",
        )
    param = "provider" if len({route.provider for route in found}) > 1 else "upstream_model"
    what = param.replace("_", " ")
    raise Refused(
        Reason.BAD_VALUE, f"`{llm}` has several prices: say at which {what}. It is at: {', '.join(places)}.", param=param
    )


def _points(price: Mapping[str, object]) -> tuple[PricePoint, ...]:
    try:
        return read_price(price)
    except ValueError as problem:
        raise Refused(Reason.BAD_VALUE, f"`price`: {problem}.", param="price") from None


def _book(document: Mapping[str, Any] | None) -> Book:
    if document is None:
        return book.packaged()
    try:
        return Book.from_document(document)
    except ValueError as problem:
        raise Refused(Reason.BAD_VALUE, f"`document`: {problem}.", param="document") from None


def show(row: VersionRow) -> PriceVersionObject:
    return PriceVersionObject(
        id=row.id, llm=row.llm, provider=row.provider, upstream_model=row.upstream_model, route_id=row.route_id,
        origin=row.origin, source=row.source, source_revision=row.source_revision, effective_from=row.effective_from,
        effective_to=row.effective_to, superseded_at=row.superseded_at, price=_text(item.point for item in row.items),
        items=[_item(item) for item in row.items], created_at=row.created_at,
    )  # fmt: skip


def _item(row: ItemRow) -> PriceItemObject:
    point = row.point
    return PriceItemObject(
        id=row.id, unit=point.unit, variant=point.variant, service_tier=point.service_tier, processing=point.processing,
        above_input_tokens=point.above_input_tokens, hours=hours_of(point), minimum_units=point.minimum_units,
        price=amount_text(point), usd=format_usd(point.price_pusd), per_units=point.per_units,
    )  # fmt: skip


async def prices_of(db: Connection, item_ids: Iterable[UUID]) -> list[LinePriceObject]:
    """Of the lines of usage events, in the order of the lines."""
    wanted = dict.fromkeys(item_ids)
    found = {
        item.id: LinePriceObject(
            **_item(item).model_dump(), price_id=row.id, llm=row.llm, upstream_model=row.upstream_model,
            source=row.source, effective_from=row.effective_from, effective_to=row.effective_to,
        )
        for row in await store.versions_of_items(db, wanted)
        for item in row.items
    }  # fmt: skip
    return [found[item_id] for item_id in wanted if item_id in found]


def _step(step: Step) -> PriceStepObject:
    return PriceStepObject(
        llm=step.route.llm, provider=step.route.provider, upstream_model=step.route.upstream_model, action=step.action,
        price_id=step.version_id, origin=step.origin, source=step.source, effective_from=step.effective_from,
        effective_to=step.effective_to, price=_text(step.points),
    )  # fmt: skip


def _text(points: Iterable[PricePoint]) -> dict[str, Any]:
    return write_price(points)


LIST, ONE, WHAT = "/prices", "/prices/{id}", "price"
ENDPOINTS: tuple[Endpoint, ...] = (
    Read(LIST, WHAT, "List prices with their times", list_all, PriceList, PriceQuery),
    Write("POST", LIST, "create", WHAT, "Set a custom price from a date on", set_price, SetPriceObject, NewPrice, status=201),
    Read(ONE, WHAT, "Get a price", get, PriceVersionObject, ids=ID),
    Write("POST", f"{LIST}/unset", "delete", WHAT, "End a custom price", unset_price, PriceChanges, UnsetPrice),
    Write(
        "POST", f"{LIST}/import", "import", WHAT, "Take list prices from a price book", import_all, ImportedPrices,
        ImportPrices, max_body_bytes=MAX_DOCUMENT_BYTES,
    ),
)
