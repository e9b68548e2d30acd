"""Where a second source is right against the source of the book (disagreements.json), the book has its price.

Applied by `convert`. A correction holds from its day on; before it, and where nothing was decided, the source's history
stays. It stops the conversion as soon as the source says something else than what was decided about: decide again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("disagreements.json")
# How the note of a corrected price begins.
CORRECTED = "corrected: "

# Id → its other ids, its dated prices: as convert.py has them.
Models = dict[str, tuple[list[str], list[dict[str, Any]]]]


class Correction(NamedTuple):
    """`like`: the model of the same provider whose prices are taken; else `price`."""

    model: str
    prices: Mapping[str, list[str]]  # unit → what the source says, what the second source says
    day: str
    like: str | None
    price: Mapping[str, Any] | None
    by: str  # the second source


class Outdated(ValueError):
    """The source no longer says what was decided about."""


def corrected(provider: str, models: Models, text: str | None = None) -> Models:
    """`text`: of another file than the committed one."""
    after = dict(models)
    for correction in _corrections(provider, FILE.read_text("utf-8") if text is None else text):
        dated = _own_history(provider, after, correction.model)
        _require_source_unchanged(provider, correction, dated)
        before = [entry for entry in dated if entry["from"] is None or entry["from"] < correction.day]
        also, _ = after[correction.model]
        after[correction.model] = (also, [*before, *_taken(provider, models, correction)])
    return after


def _corrections(provider: str, text: str) -> Iterator[Correction]:
    document = json.loads(text)
    for entry in document["disagreements"]:
        if entry["provider"] != provider or entry["decision"] != "second":
            continue
        take = entry["take"]
        for model in entry["models"]:
            yield Correction(
                model, entry["prices"], take["from"], take.get("as"), take.get("price"), document["second_source"]
            )


def _own_history(provider: str, models: Models, model: str) -> list[dict[str, Any]]:
    """Its dated prices, as a model of its own: what was another id of some model stands alone from here on."""
    if model not in models:
        found = next(((name, also) for name, (also, _) in models.items() if model in also), None)
        if found is None:
            raise Outdated(f"{provider}/{model} is not in the source any more: take its correction out")
        name, also = found
        models[name] = ([other for other in also if other != model], models[name][1])
        models[model] = ([], models[name][1])
    elif models[model][0]:
        # The other ids keep the source's price, unless they are corrected themselves.
        first, *rest = models[model][0]
        models[first] = (rest, models[model][1])
        models[model] = ([], models[model][1])
    return models[model][1]


def _taken(provider: str, models: Models, correction: Correction) -> list[dict[str, Any]]:
    if correction.like is None:
        return [{"from": correction.day, "price": dict(correction.price or {}), "note": CORRECTED + correction.by}]
    dated = next((dated for name, (also, dated) in models.items() if correction.like in (name, *also)), None)
    if dated is None:
        raise Outdated(f"{provider}/{correction.like} is not in the source any more: {correction.model} is corrected by it")
    note = f"{CORRECTED}as {correction.like}"
    later = [{**entry, "note": note} for entry in dated if entry["from"] is not None and entry["from"] > correction.day]
    held = [entry for entry in dated if entry["from"] is None or entry["from"] <= correction.day]
    return [{**held[-1], "from": correction.day, "note": note}, *later] if held else later


def _require_source_unchanged(provider: str, correction: Correction, dated: list[dict[str, Any]]) -> None:
    newest = dated[-1]["price"]
    for unit, (ours, _) in correction.prices.items():
        if newest.get(unit) != ours:
            raise Outdated(
                f"{provider}/{correction.model}: the source now says {newest.get(unit)} for {unit}, not {ours}. "
                "Decide again in disagreements.json"
            )
