"""A catalog of two llms on a real database: `m` at openai and at groq, `n` at openai."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import pytest

from pricing.book import DAWN, DatedPrice
from pricing.price_text import PricePoint, read_price
from pricing.rate import in_force
from proxy.catalog import store as catalog
from proxy.catalog.plan import CatalogPlan, LlmPlan, PriceBook, ProviderPlan, RoutePlan
from proxy.catalog.prices import store
from proxy.catalog.prices.store import PricedRoute
from proxy.storage.postgres import Pool

PROVIDERS = (ProviderPlan("openai", "openai", "https://o.test/v1"), ProviderPlan("groq", "openai", "https://g.test/v1"))


def plan(price: dict[str, object] | None = None) -> CatalogPlan:
    """`price`: of `m` at openai in config.yaml."""
    llms = (LlmPlan("m", 1, 1, (RoutePlan("openai", "x", price), RoutePlan("groq", "y"))),
            LlmPlan("n", 1, 1, (RoutePlan("openai", "z"),)))  # fmt: skip
    return CatalogPlan(PROVIDERS, llms)


def points(usd: str) -> tuple[PricePoint, ...]:
    return read_price({"input": usd})


def edition(version: str, **models: Iterable[tuple[datetime | None, str]]) -> PriceBook:
    """model → (from when, USD per million), oldest first. None: always."""
    def dated(history: Iterable[tuple[datetime | None, str]]) -> tuple[DatedPrice, ...]:
        entries = list(history)
        ends = [*(start for start, _ in entries[1:]), None]
        return tuple(DatedPrice(start or DAWN, end, f"test {version}", version, points(usd))
                     for (start, usd), end in zip(entries, ends, strict=True))  # fmt: skip

    known: Mapping[str, tuple[DatedPrice, ...]] = {model: dated(history) for model, history in models.items()}
    return lambda provider, model: known.get(model, ())


BOOK = edition("1", x=[(None, "1")], y=[(None, "2")], z=[(None, "3")])


class House:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def sync(self, wanted: CatalogPlan | None = None, find: PriceBook = BOOK) -> bool:
        async with self.pool.acquire() as db:
            return await catalog.sync(db, wanted or plan(), find=find)

    async def route(self, llm: str = "m", provider: str = "openai") -> PricedRoute:
        async with self.pool.acquire() as db:
            (route,) = await store.routes(db, llm=llm, provider=provider)
        return route

    async def usd(self, moment: datetime, llm: str = "m", route: int = 0) -> int | None:
        """Pico-USD per input token at a moment, as the gateway sees it; None: unpriced."""
        async with self.pool.acquire() as db:
            found = (await catalog.load(db)).find(llm)
        assert found is not None
        price = in_force(found.routes[route].prices, moment)
        return price.items[0].price_pusd if hasattr(price, "items") else None

    async def versions(self, llm: str = "m", *, replaced: bool = True) -> list[tuple[str, str, bool]]:
        """(origin, source, superseded), by time."""
        rows = await self.pool.fetch(
            "SELECT v.origin, v.source, v.superseded_at IS NOT NULL AS gone FROM price_versions v JOIN routes r"
            " ON r.id = v.route_id JOIN llms l ON l.id = r.llm_id JOIN providers p ON p.id = r.provider_id"
            " WHERE l.name = $1 AND p.name = 'openai' AND ($2 OR v.superseded_at IS NULL) ORDER BY v.effective_from, v.id",
            llm, replaced,
        )  # fmt: skip
        return [tuple(row.values()) for row in rows]


@pytest.fixture
async def house(pool: Pool) -> House:
    house = House(pool)
    await house.sync()
    return house
