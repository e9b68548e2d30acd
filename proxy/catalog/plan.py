"""What config.yaml wants the catalog to be. Values only; whoever reads the file builds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pricing import book
from pricing.book import DAWN, DatedPrice
from pricing.price_text import digest, read_price
from proxy.catalog.route import StreamUsage, TierWord

# (provider, upstream model) → dated list prices, oldest first; empty where it knows none.
PriceBook = Callable[[str, str], tuple[DatedPrice, ...]]


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    name: str
    dialect: str
    base_url: str
    stream_usage: StreamUsage = "asked"
    usage_reader: str = "openai"
    tier_word: TierWord = "served"


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """`price`: as written in config.yaml (pricing/price_text.py); None: what the price book says."""

    provider: str
    upstream_model: str
    price: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class LlmPlan:
    """Routes in order of preference."""

    name: str
    context_window: int | None
    max_output: int | None
    routes: tuple[RoutePlan, ...]
    unpriced: Literal["allow", "reject"] = "allow"


@dataclass(frozen=True, slots=True)
class CatalogPlan:
    """Names are unique, each route's provider is one of `providers`, each price can be read: else ValueError."""

    providers: tuple[ProviderPlan, ...]
    llms: tuple[LlmPlan, ...]

    def __post_init__(self) -> None:
        _unique("provider", (provider.name for provider in self.providers))
        _unique("llm", (llm.name for llm in self.llms))
        known = {provider.name for provider in self.providers}
        for llm in self.llms:
            _unique(f"llm {llm.name!r}: route", ((route.provider, route.upstream_model) for route in llm.routes))
            for route in llm.routes:
                if route.provider not in known:
                    raise ValueError(f"llm {llm.name!r}: there is no provider {route.provider!r}")
                if route.price is not None:
                    read_price(route.price)


def price_history(route: RoutePlan, find: PriceBook = book.find) -> tuple[DatedPrice, ...]:
    """A price in config.yaml holds from always until it is changed there, and hides the book's. Empty: unpriced."""
    if route.price is None:
        return find(route.provider, route.upstream_model)
    points = read_price(route.price)
    return (DatedPrice(DAWN, None, "config", digest(points), points),)


def _unique(what: str, names: Iterable[object]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is there twice")
