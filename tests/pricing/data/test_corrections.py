"""Where the second source was found right, the book has its price, from its day on, and nothing else has changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pricing import book
from pricing.data.corrections import CORRECTED, FILE, Models, Outdated, corrected

DECIDED = json.loads(FILE.read_text())["disagreements"]
TAKEN = [(entry["provider"], model, entry) for entry in DECIDED if entry["decision"] == "second" for model in entry["models"]]
OLD, NEW = {"input": "1", "output": "2"}, {"input": "3", "output": "4"}


def moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def in_force(provider: str, model: str, at: datetime) -> Any:
    return next(p for p in book.find(provider, model) if p.effective_from <= at and (p.effective_to is None or at < p.effective_to))


@pytest.mark.parametrize(("provider", "model", "entry"), TAKEN, ids=[f"{p}/{m}" for p, m, _ in TAKEN])
def test_the_book_has_what_was_decided(provider: str, model: str, entry: dict[str, Any]) -> None:
    day = moment(entry["take"]["from"])
    before, after = (in_force(provider, model, at) for at in (day - timedelta(seconds=1), day))
    usd = {p.unit: p.price_pusd for p in after.points if not (p.processing or p.above_input_tokens or p.service_tier)}
    assert {unit: usd[unit] for unit in entry["prices"]} == {
        unit: int(Decimal(theirs) * 1_000_000) for unit, (_, theirs) in entry["prices"].items()}
    assert CORRECTED in after.source and CORRECTED not in before.source
    if "as" in entry["take"]:
        for at in (day, day + timedelta(days=400)):
            assert in_force(provider, model, at).points == in_force(provider, entry["take"]["as"], at).points


def decided(*models: str, **take: Any) -> str:
    prices = {"input": ["1", "3"]}
    entry = {"provider": "p", "models": models, "decision": "second", "prices": prices, "take": {"from": "2026-05-01", **take}}
    return json.dumps({"second_source": "second 1", "disagreements": [entry, entry | {"decision": "book", "models": ["other"]}]})


def of(*prices: tuple[str | None, dict[str, str]], also: list[str] | None = None) -> tuple[list[str], list[dict[str, Any]]]:
    return also or [], [{"from": day, "price": price} for day, price in prices]


def test_only_the_decided_id_changes() -> None:
    models: Models = {"a": of((None, OLD), also=["b", "c"]), "other": of((None, OLD))}
    for wrong in ("a", "b"):
        after = corrected("p", models, decided(wrong, price=NEW))
        by_id = {name: dated for model, (also, dated) in after.items() for name in (model, *also)}
        assert by_id.pop(wrong) == [
            {"from": None, "price": OLD}, {"from": "2026-05-01", "price": NEW, "note": "corrected: second 1"}]
        assert by_id == dict.fromkeys({"a", "b", "c", "other"} - {wrong}, [{"from": None, "price": OLD}])
    assert models == {"a": of((None, OLD), also=["b", "c"]), "other": of((None, OLD))}
    assert corrected("q", models, decided("a", price=NEW)) == models


def test_prices_of_another_model_with_their_days() -> None:
    models: Models = {"a": of((None, OLD)), "like": of((None, {"input": "8"}), ("2026-04-01", NEW), ("2026-06-01", {"input": "9"}))}
    after = corrected("p", models, decided("a", **{"as": "like"}))["a"][1]
    assert [(entry["from"], entry["price"]) for entry in after] == [
        (None, OLD), ("2026-05-01", NEW), ("2026-06-01", {"input": "9"})]


def test_what_the_source_dates_later_is_replaced_too() -> None:
    models: Models = {"a": of((None, {"input": "7"}), ("2026-05-10", OLD))}
    after = corrected("p", models, decided("a", price=NEW))["a"][1]
    assert [(entry["from"], entry["price"]) for entry in after] == [(None, {"input": "7"}), ("2026-05-01", NEW)]


def test_what_the_source_no_longer_says_stops_the_conversion() -> None:
    with pytest.raises(Outdated, match="now says 3 for input, not 1"):
        corrected("p", {"a": of((None, NEW))}, decided("a", price=NEW))
    with pytest.raises(Outdated, match="p/a is not in the source"):
        corrected("p", {}, decided("a", price=NEW))
    with pytest.raises(Outdated, match="p/like is not in the source"):
        corrected("p", {"a": of((None, OLD))}, decided("a", **{"as": "like"}))
