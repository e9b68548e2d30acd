from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from pricing.price import PriceVersion, Unpriced
from proxy.catalog.route import Llm, Provider, Route
from proxy.catalog.snapshot import Catalog
from proxy.wire.ids import NIL

NAMES = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "Qwen/Qwen3-32B", "synapscale/echo")
CATALOG = Catalog(1, {name: Llm(NIL, name, None, None, (), 0) for name in NAMES})


def test_names_resolve_exactly() -> None:
    found = CATALOG.find("gpt-4o")
    assert found is not None
    assert found.name == "gpt-4o"
    for name in ("gpt-4", "gpt-4o-", "GPT-4o", " gpt-4o", "openai/gpt-4o", ""):
        assert CATALOG.find(name) is None


@pytest.mark.parametrize(
    ("name", "first"),
    [("gpt-4o-mni", "gpt-4o-mini"), ("GPT-4O-MINI", "gpt-4o-mini"), ("openai/gpt-4o", "gpt-4o"),
     ("echo", "synapscale/echo"), ("qwen3-32b", "Qwen/Qwen3-32B"), ("claude-sonnet-4.5", "claude-sonnet-4-5")],
)
def test_near_names(name: str, first: str) -> None:
    near = CATALOG.near(name)
    assert near[0] == first
    assert len(near) <= 3
    assert len(set(near)) == len(near)


@pytest.mark.parametrize("name", ["", "   ", "/", "completely different", "gpt-4o" * 1000])
def test_nothing_is_near(name: str) -> None:
    assert CATALOG.near(name) == []


def test_a_restricted_key_is_told_only_of_its_own_llms() -> None:
    assert CATALOG.near("gpt-4o-mni", among={"gpt-4o"}) == ["gpt-4o"]
    assert CATALOG.near("gpt-4o-mni", among=set()) == []


def test_the_price_of_a_model_is_that_of_any_route_to_it() -> None:
    change = datetime(2026, 2, 1, tzinfo=UTC)
    old = PriceVersion(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), change, "test", ())
    new = PriceVersion(UUID(int=2), change, None, "test", ())
    provider = Provider(NIL, "openai", "openai", "https://openai")
    routes = {"none": (), "one": (new, old), "none-again": ()}
    catalog = Catalog(1, {
        name: Llm(NIL, name, None, None, (Route(NIL, provider, "gpt-image-1", prices),), 0) for name, prices in routes.items()
    })  # fmt: skip
    assert catalog.price_of("openai", "gpt-image-1", change) is new
    assert catalog.price_of("openai", "gpt-image-1", datetime(2026, 1, 31, tzinfo=UTC)) is old
    assert catalog.price_of("openai", "gpt-image-1", datetime(2025, 1, 1, tzinfo=UTC)) == Unpriced("no price is known for gpt-image-1")
    assert isinstance(catalog.price_of("openai", "one", change), Unpriced)
    assert isinstance(catalog.price_of("azure", "gpt-image-1", change), Unpriced)
