from __future__ import annotations

import pytest

from proxy.catalog.route import Llm
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
