from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pricing.book import DAWN
from proxy.catalog.plan import CatalogPlan, LlmPlan, ProviderPlan, RoutePlan, price_history

OPENAI = ProviderPlan("openai", "openai", "https://api.openai.com/v1")
ROUTE = RoutePlan("openai", "gpt-4o-mini")


@pytest.mark.parametrize(
    ("providers", "llms", "message"),
    [
        ((OPENAI, OPENAI), (), "provider 'openai' is there twice"),
        ((OPENAI,), (LlmPlan("a", 1, 1, (ROUTE,)), LlmPlan("a", 1, 1, (ROUTE,))), "llm 'a' is there twice"),
        ((OPENAI,), (LlmPlan("a", 1, 1, (ROUTE, ROUTE)),), r"route \('openai', 'gpt-4o-mini'\) is there twice"),
        ((), (LlmPlan("a", 1, 1, (ROUTE,)),), "llm 'a': there is no provider 'openai'"),
        ((OPENAI,), (LlmPlan("a", 1, 1, (RoutePlan("openai", "m", {"inptu": "1"}),)),), "inptu: no such unit"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    providers: tuple[ProviderPlan, ...], llms: tuple[LlmPlan, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CatalogPlan(providers, llms)


def test_the_files_price_hides_the_books_history() -> None:
    (only,) = price_history(RoutePlan("openai", "gpt-4o-mini", {"input": "0.20", "output": "0.80"}))
    assert (only.effective_from, only.effective_to, only.source) == (DAWN, None, "config")
    assert [point.price_pusd for point in only.points] == [200_000, 800_000]


def test_without_a_price_the_book_is_asked_by_exact_name() -> None:
    assert len(price_history(ROUTE)) > 1
    assert price_history(RoutePlan("openai", "gpt-4o-mini-mine")) == ()


def test_every_llm_that_ships_has_a_price() -> None:
    shipped = yaml.safe_load((Path(__file__).parents[3] / "config.yaml").read_text())
    routes = [
        RoutePlan(route["provider"], route["model"], route.get("price") or llm.get("price"))
        for llm in shipped["llms"]
        for route in llm["routes"]
    ]
    assert len(routes) >= 12
    assert [route for route in routes if not price_history(route)] == []
