"""`/llms` and `/providers`, read from the catalog."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pricing.money import format_usd
from proxy.api.context import ApiContext
from proxy.api.endpoint import Call, Endpoint, Read, listing, page_of
from proxy.api.schema import (
    Listing,
    ListQuery,
    LlmId,
    LlmName,
    Part,
    ProviderId,
    ProviderName,
    RouteId,
    Usd,
)
from proxy.catalog.prices.wording import hours_of
from proxy.catalog.reading import store
from proxy.catalog.reading.store import LlmRow, ProviderRow, RouteRow
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused

Presence = Literal["active", "removed"]
ECHO = "echo"  # the dialect of the built-in provider


class PriceObject(Part):
    """What `per_units` units cost."""

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
    usd: Usd
    per_units: int


class RouteObject(Part):
    """The llm at one provider."""

    id: RouteId
    provider: str
    upstream_model: str
    prices: list[PriceObject] | None
    """In force now. Null: no price is known; then usage is recorded as `unpriced`, never as free."""
    priced_from: datetime | None
    price_source: str | None


class LlmObject(Part):
    """What clients name as `model`."""

    id: LlmId
    object: Literal["llm"] = "llm"
    name: str
    context_window: int | None
    max_output: int | None
    routes: list[RouteObject]
    """In order of preference."""
    managed_by: Literal["config", "api"]
    status: Presence
    created_at: datetime


class LlmList(Listing[LlmObject]):
    """Llms."""


class LlmQuery(ListQuery):
    after: LlmId | None = None
    name: LlmName | None = None
    status: Presence = "active"


class ProviderObject(Part):
    """Somebody who runs llms."""

    id: ProviderId
    object: Literal["provider"] = "provider"
    name: str
    dialect: str
    base_url: str
    auth: Literal["bearer", "none"]
    """`none`: it takes calls without a key, and every virtual key reaches it."""
    has_global_key: bool
    """Whether this gateway has a key of the platform for it. Neither this nor `none`: only callers with an own key
    reach it."""
    managed_by: Literal["config", "api"]
    status: Presence
    created_at: datetime


class ProviderList(Listing[ProviderObject]):
    """Providers."""


class ProviderQuery(ListQuery):
    after: ProviderId | None = None
    name: ProviderName | None = None
    status: Presence = "active"


async def list_llms(call: Call, db: Connection, query: LlmQuery) -> LlmList:
    rows = await store.list_llms(
        db, name=query.name, status=query.status, now=call.context.clock.now(), page=page_of(query, query.after)
    )
    return LlmList(**listing(rows, query.limit, _llm))


async def get_llm(call: Call, db: Connection, query: object) -> LlmObject:
    row = await store.get_llm(db, call.path["id"], now=call.context.clock.now())
    if row is None:
        raise Refused(Reason.NOT_FOUND, "No such llm. GET /api/v1/llms lists them.")
    return _llm(row)


async def list_providers(call: Call, db: Connection, query: ProviderQuery) -> ProviderList:
    rows = await store.list_providers(db, name=query.name, status=query.status, page=page_of(query, query.after))
    return ProviderList(**listing(rows, query.limit, lambda row: _provider(row, call.context)))


async def get_provider(call: Call, db: Connection, query: object) -> ProviderObject:
    row = await store.get_provider(db, call.path["id"])
    if row is None:
        raise Refused(Reason.NOT_FOUND, "No such provider. GET /api/v1/providers lists them.")
    return _provider(row, call.context)


def _llm(row: LlmRow) -> LlmObject:
    return LlmObject.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "context_window": row.context_window,
            "max_output": row.max_output,
            "routes": [_route(route) for route in row.routes],
            "managed_by": row.managed_by,
            "status": row.status,
            "created_at": row.created_at,
        }  # fmt: skip
    )


def _route(row: RouteRow) -> RouteObject:
    prices = None if row.prices is None else [
        PriceObject(
            unit=price.unit, variant=price.variant, service_tier=price.service_tier, processing=price.processing,
            above_input_tokens=price.above_input_tokens, hours=hours_of(price), minimum_units=price.minimum_units,
            usd=format_usd(price.price_pusd), per_units=price.per_units,
        )
        for price in row.prices
    ]  # fmt: skip
    return RouteObject(
        id=row.id, provider=row.provider, upstream_model=row.upstream_model, prices=prices,
        priced_from=row.effective_from, price_source=row.source,
    )  # fmt: skip


def _provider(row: ProviderRow, context: ApiContext) -> ProviderObject:
    keyless = row.name in context.keyless or row.dialect == ECHO
    return ProviderObject.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "dialect": row.dialect,
            "base_url": row.base_url,
            "auth": "none" if keyless else "bearer",
            "has_global_key": row.name in context.global_keys and not keyless,
            "managed_by": row.managed_by,
            "status": row.status,
            "created_at": row.created_at,
        }  # fmt: skip
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Read("/llms", "llm", "List llms with routes and prices", list_llms, LlmList, LlmQuery),
    Read("/llms/{id}", "llm", "Get an llm", get_llm, LlmObject, ids={"id": "llm"}),
    Read("/providers", "provider", "List providers", list_providers, ProviderList, ProviderQuery),
    Read("/providers/{id}", "provider", "Get a provider", get_provider, ProviderObject, ids={"id": "prov"}),
)
