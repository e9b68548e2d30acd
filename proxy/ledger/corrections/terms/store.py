"""SQL that reads price versions, plans and overrides of any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.rate import in_force
from proxy.identity.plan import Plan
from proxy.storage.postgres import Connection

QUERY_S = 20.0

READERS = "SELECT name, usage_reader FROM providers WHERE name = ANY($1::text[])"
VERSIONS = """
SELECT v.id, p.name AS provider, r.upstream_model, l.name AS llm, v.effective_from, v.effective_to, v.source
FROM price_versions v JOIN routes r ON r.id = v.route_id JOIN providers p ON p.id = r.provider_id
     JOIN llms l ON l.id = r.llm_id
WHERE p.name = ANY($1::text[]) AND v.superseded_at IS NULL
  AND v.effective_from <= $3 AND (v.effective_to IS NULL OR v.effective_to > $2)
ORDER BY v.effective_from DESC
"""
ITEMS = """
SELECT version_id, id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing, from_minute,
    to_minute, minimum_units
FROM price_items WHERE version_id = ANY($1::uuid[])
ORDER BY version_id, unit, service_tier, above_input_tokens, id
"""
MODELS_OF_ITEMS = """
SELECT i.id, r.upstream_model
FROM price_items i JOIN price_versions v ON v.id = i.version_id JOIN routes r ON r.id = v.route_id
WHERE i.id = ANY($1::uuid[])
"""
PLANS = """
SELECT workspace_id, effective_from, effective_to, markup_bps, platform_fee_bps, free_fees_pusd, internal,
    empty_answer_free
FROM plans
WHERE workspace_id = ANY($1::uuid[]) AND effective_from <= $3 AND (effective_to IS NULL OR effective_to > $2)
"""
OVERRIDES = """
SELECT o.workspace_id, l.name AS llm, o.effective_from, o.effective_to, o.markup_bps
FROM price_overrides o JOIN llms l ON l.id = o.llm_id
WHERE o.workspace_id = ANY($1::uuid[]) AND o.effective_from <= $3
  AND (o.effective_to IS NULL OR o.effective_to > $2)
"""

RouteName = tuple[str, str, str]  # provider, upstream model, llm


ValueT = TypeVar("ValueT")
_DEFAULT = Plan()


class Dated(NamedTuple, Generic[ValueT]):
    """In force from `effective_from` (inclusive) to `effective_to` (exclusive; None: until further notice)."""

    effective_from: datetime
    effective_to: datetime | None
    value: ValueT


@dataclass(frozen=True, slots=True)
class Terms:
    """`readers`: by provider. `models`: by price item. What is dated has no two in force at one moment."""

    readers: Mapping[str, str]
    prices: Mapping[RouteName, tuple[PriceVersion, ...]]
    models: Mapping[UUID, str]
    plans: Mapping[UUID, Sequence[Dated[Plan]]]
    overrides: Mapping[tuple[UUID, str], Sequence[Dated[int]]]  # markup in basis points

    def price(self, route: RouteName, moment: datetime) -> PriceVersion | Unpriced:
        return in_force(self.prices.get(route, ()), moment)

    def price_of(self, provider: str, model: str, moment: datetime) -> PriceVersion | Unpriced:
        """Of a model that another one called: any llm's route to it."""
        for (at, upstream_model, _), versions in self.prices.items():
            if at == provider and upstream_model == model:
                found = in_force(versions, moment)
                if isinstance(found, PriceVersion):
                    return found
        return Unpriced(f"no price is known for {model[:100]}")

    def plan(self, workspace_id: UUID, llm: str, moment: datetime) -> Plan:
        """With the override for that llm, where there is one."""
        plan = _of_moment(self.plans.get(workspace_id, ()), moment) or _DEFAULT
        markup_bps = _of_moment(self.overrides.get((workspace_id, llm), ()), moment)
        return plan if markup_bps is None else replace(plan, markups={llm: markup_bps})


async def load(
    db: Connection, *, providers: Collection[str], workspaces: Collection[UUID], items: Collection[UUID],
    since: datetime, until: datetime,
) -> Terms:  # fmt: skip
    """Whatever was in force at some moment from `since` to `until`, both inclusive."""
    readers = {
        row["name"]: row["usage_reader"] for row in await db.fetch(READERS, list(providers), timeout=QUERY_S)
    }
    models = {
        row["id"]: row["upstream_model"] for row in await db.fetch(MODELS_OF_ITEMS, list(items), timeout=QUERY_S)
    }
    plans: defaultdict[UUID, list[Dated[Plan]]] = defaultdict(list)
    for row in await db.fetch(PLANS, list(workspaces), since, until, timeout=QUERY_S):
        workspace_id, start, end, *fields = row.values()
        plans[workspace_id].append(Dated(start, end, Plan(*fields)))
    overrides: defaultdict[tuple[UUID, str], list[Dated[int]]] = defaultdict(list)
    for row in await db.fetch(OVERRIDES, list(workspaces), since, until, timeout=QUERY_S):
        workspace_id, llm, *fields = row.values()
        overrides[workspace_id, llm].append(Dated(*fields))
    return Terms(readers, await _prices(db, providers, since, until), models, plans, overrides)


async def _prices(
    db: Connection, providers: Collection[str], since: datetime, until: datetime
) -> Mapping[RouteName, tuple[PriceVersion, ...]]:
    rows = await db.fetch(VERSIONS, list(providers), since, until, timeout=QUERY_S)
    items: defaultdict[UUID, list[PriceItem]] = defaultdict(list)
    for row in await db.fetch(ITEMS, [row["id"] for row in rows], timeout=QUERY_S):
        version_id, *fields = row.values()
        items[version_id].append(PriceItem(*fields))
    prices: defaultdict[RouteName, list[PriceVersion]] = defaultdict(list)
    for row in rows:
        prices[row["provider"], row["upstream_model"], row["llm"]].append(
            PriceVersion(
                row["id"], row["effective_from"], row["effective_to"], row["source"], tuple(items[row["id"]])
            )
        )
    return {route: tuple(versions) for route, versions in prices.items()}


def _of_moment(dated: Sequence[Dated[ValueT]], moment: datetime) -> ValueT | None:
    for one in dated:
        if one.effective_from <= moment and (one.effective_to is None or moment < one.effective_to):
            return one.value
    return None
