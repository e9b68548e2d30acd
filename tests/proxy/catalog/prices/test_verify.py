"""The price book against LiteLLM's prices. `make test` has them: an unexplained difference fails here, never skips."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pricing import book
from pricing.book import DAWN, DatedPrice
from pricing.price_text import read_price
from proxy.catalog.prices import second_source
from proxy.catalog.prices.verify import (
    Decision,
    Difference,
    Explained,
    Verdict,
    base_prices,
    plain,
    read_decisions,
    verify,
)

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def real() -> Verdict:
    return verify(book.find, book.packaged().models(), second_source.installed().prices, read_decisions())


def test_every_disagreement_is_explained(real: Verdict) -> None:
    """Otherwise: decide it in pricing/data/disagreements.json, with a reason and its source."""
    assert real.unexplained == []
    assert [decision.difference for decision in real.stale] == []


def test_enough_is_compared_for_that_to_mean_something(real: Verdict) -> None:
    assert real.models > 300 and real.compared > 800 and real.compared == real.agree + len(real.explained) + len(real.corrected)
    assert len(real.explained) > 20 and len(real.corrected) > 10


def test_the_edition_that_was_decided_about_is_the_one_that_is_locked() -> None:
    assert second_source.installed().name == read_decisions().second
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["prices"] == [read_decisions().second.replace(" ", "==")]


def test_every_decision_has_a_reason_and_an_address() -> None:
    for decision in read_decisions().decisions:
        assert len(decision.reason) > 40 and decision.source.startswith("https://"), decision


def find(provider: str, model: str) -> tuple[DatedPrice, ...]:
    prices = {"m": {"input": "1", "output": "2"}, "n": {"input": "5"}}
    return (DatedPrice(DAWN, None, "s", "", read_price(prices[model])),) if model in prices else ()


MODELS = [("p", "m"), ("p", "n"), ("p", "mine")]


def judged(theirs: dict[str, dict[str, str]], *decisions: tuple[str, str, str, str, str]) -> Verdict:
    """A decision: model, unit, ours, theirs, who is right."""
    second = {("p", model): {unit: Decimal(usd) for unit, usd in units.items()} for model, units in theirs.items()}
    decided = tuple(Decision(Difference("p", *d[:4]), d[4], "why", "https://where") for d in decisions)
    return verify(find, MODELS, second, Explained("second 1", NOW, decided))


def test_counts() -> None:
    verdict = judged({"m": {"input": "1", "output": "2", "cache_read": "1"}, "theirs": {"input": "1"}})
    assert verdict == Verdict(2, 2, [], [], [], [], models=1, only_ours=2, only_theirs=2) and verdict.is_good


def test_a_difference_needs_a_decision_about_exactly_it() -> None:
    theirs = {"m": {"input": "3", "output": "2"}}
    assert judged(theirs).unexplained == [Difference("p", "m", "input", "1", "3")] and not judged(theirs).is_good
    assert judged(theirs, ("m", "input", "1", "3", "book")).is_good
    for other in (("m", "input", "1", "4", "book"), ("m", "input", "2", "3", "book")):
        verdict = judged(theirs, other)
        assert (len(verdict.unexplained), len(verdict.stale)) == (1, 1)


def test_a_decision_about_nothing_is_stale() -> None:
    for decision in (("m", "input", "2", "1", "book"), ("x", "input", "1", "2", "book"), ("m", "cache_read", "1", "2", "open")):
        verdict = judged({"m": {"input": "1"}}, decision)
        assert len(verdict.stale) == 1 and not verdict.is_good and not verdict.unexplained


def test_a_decision_for_the_other_source_holds_once_the_book_has_its_price() -> None:
    assert judged({"m": {"input": "1"}}, ("m", "input", "0.5", "1", "second")).is_good
    assert len(judged({"m": {"input": "3"}}, ("m", "input", "1", "3", "second")).unexplained) == 1
    assert len(judged({"m": {"input": "1"}}, ("m", "input", "0.5", "2", "second")).stale) == 1


def test_base_prices_are_standard_all_day_and_below_every_cliff() -> None:
    price = read_price({
        "input": "1", "output": "0.0000004", "above": {"9": {"input": "2"}}, "batch": {"input": "0.5"},
        "tiers": {"flex": {"input": "0.7"}}, "hours": {"01:00-02:00": {"cache_read": "3"}}, "cache_read": "1",
        "web_searches": "0.01",
    })  # fmt: skip
    assert {unit: plain(usd) for unit, usd in base_prices(price).items()} == {"input": "1", "output": "0", "cache_read": "3"}


@pytest.mark.parametrize(
    ("change", "told"),
    [({"decision": "both"}, "decision must be one of"), ({"reason": ""}, "a reason and its source"), ({"source": ""}, "a reason"),
     ({"models": ["m", "m"]}, "decided twice")],
)  # fmt: skip
def test_a_decision_that_is_none(change: dict[str, Any], told: str) -> None:
    entry = {"provider": "p", "models": ["m"], "prices": {"input": ["1", "2"]}, "decision": "book", "reason": "r", "source": "s"}
    document = {"second_source": "s 1", "as_of": "2026-11-24", "disagreements": [entry | change]}
    with pytest.raises(ValueError, match=told):
        read_decisions(json.dumps(document))


def test_their_floats_count_to_six_decimals_per_million_and_resellers_do_not(tmp_path: Path) -> None:
    entries = {
        "gpt": {"litellm_provider": "openai", "input_cost_per_token": 1.8000000000000002e-07, "cache_creation_input_token_cost": 2e-7},
        "xai/grok": {"litellm_provider": "xai", "input_cost_per_token": 0.0000012345678, "output_cost_per_token": 0},
        "grok": {"litellm_provider": "xai", "input_cost_per_token": 9e-6},
        "azure/gpt": {"litellm_provider": "azure", "input_cost_per_token": 1e-6},
        "claude": {"litellm_provider": "anthropic", "cache_creation_input_token_cost": 2e-6,
                   "cache_creation_input_token_cost_above_1hr": 4e-6},
        "dall-e": {"litellm_provider": "openai", "input_cost_per_image": 0.04},
    }  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(entries))
    found = second_source.read(tmp_path / "f.json", "second 1")
    assert {model: {unit: plain(usd) for unit, usd in units.items()} for model, units in found.prices.items()} == {
        ("openai", "gpt"): {"input": "0.18", "cache_write_30m": "0.2"},
        ("x-ai", "grok"): {"input": "1.234568", "output": "0"},  # the id with its provider before the one without
        ("anthropic", "claude"): {"cache_write_5m": "2", "cache_write_1h": "4"},
    }  # fmt: skip
    assert found.skipped == {"Microsoft's contracts": 1, "no price per token": 1}
    (tmp_path / "f.json").write_text("[]")
    with pytest.raises(ValueError, match="is not LiteLLM's file"):
        second_source.read(tmp_path / "f.json", "second 1")


def test_nothing_of_the_package_is_imported() -> None:
    source = Path(second_source.__file__).read_text()
    assert "import litellm" not in source and "from litellm" not in source
