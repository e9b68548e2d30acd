"""The price book against a second source: every difference is decided in a committed file, or it is an error. Pure.

Base prices only: standard tier, not in a batch, all day, below every cliff. A price that only one of both has is counted,
not judged: an unknown price is `unpriced`, never zero, so it cannot be silently wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.resources import files
from typing import NamedTuple

from pricing.price_text import PricePoint
from proxy.catalog.plan import PriceBook
from proxy.catalog.prices.second_source import ModelId

UNITS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h")
# Who is right, as far as we could find out: the source of the book; the second source, whose price the book then has
# (pricing/data/corrections.py); none of both; not known, and the source's price stays.
DECISIONS = ("book", "second", "neither", "open")
_SIX_DECIMALS = Decimal(1).scaleb(-6)


class Difference(NamedTuple):
    """USD per million, as text. Of a decision: what the source of the book says, before it was corrected."""

    provider: str
    model: str
    unit: str
    ours: str
    theirs: str


class Decision(NamedTuple):
    difference: Difference
    decision: str
    reason: str
    source: str


class Explained(NamedTuple):
    """The committed file. `second`: the edition of the second source; `as_of`: the moment for which prices are compared."""

    second: str
    as_of: datetime
    decisions: tuple[Decision, ...]


class Verdict(NamedTuple):
    """`explained`: the difference stands; `corrected`: the book has the second source's price. `stale`: what was decided
    about is no longer there."""

    compared: int
    agree: int
    explained: list[Decision]
    corrected: list[Decision]
    unexplained: list[Difference]
    stale: list[Decision]
    models: int
    only_ours: int
    only_theirs: int

    @property
    def is_good(self) -> bool:
        return not self.unexplained and not self.stale


def read_decisions(text: str | None = None) -> Explained:
    """Raises ValueError that names the entry which is wrong. Default: the packaged file."""
    if text is None:
        text = files("pricing.data").joinpath("disagreements.json").read_text("utf-8")
    document = json.loads(text)
    decisions: list[Decision] = []
    for entry in document["disagreements"]:
        name = f"{entry.get('provider')} {entry.get('models')}"
        if entry.get("decision") not in DECISIONS:
            raise ValueError(f"{name}: decision must be one of {', '.join(DECISIONS)}")
        if not entry.get("reason") or not entry.get("source"):
            raise ValueError(f"{name}: a reason and its source are missing")
        for model in entry["models"]:
            for unit, (ours, theirs) in entry["prices"].items():
                difference = Difference(entry["provider"], model, unit, ours, theirs)
                decisions.append(Decision(difference, entry["decision"], entry["reason"], entry["source"]))
    twice = {d.difference[:3] for d in decisions}
    if len(twice) != len(decisions):
        raise ValueError("a price is decided twice")
    return Explained(
        document["second_source"], datetime.fromisoformat(document["as_of"]).replace(tzinfo=UTC), tuple(decisions)
    )


def verify(
    find: PriceBook, ours: Iterable[ModelId], theirs: Mapping[ModelId, Mapping[str, Decimal]], explained: Explained
) -> Verdict:
    """`ours`: the models that the book knows."""
    known = set(ours)
    decided = {decision.difference[:3]: decision for decision in explained.decisions}
    both = sorted(known & theirs.keys())
    verdict = Verdict(0, 0, [], [], [], [], len(both), len(known - theirs.keys()), len(theirs.keys() - known))
    for model in both:
        mine, other = base_prices(_in_force(find, model, explained.as_of)), theirs[model]
        for unit in UNITS:
            if unit in mine and unit in other:
                difference = Difference(*model, unit, plain(mine[unit]), plain(other[unit]))
                verdict = _judged(verdict, difference, decided.pop(difference[:3], None))
            else:
                verdict = verdict._replace(
                    only_ours=verdict.only_ours + (unit in mine), only_theirs=verdict.only_theirs + (unit in other)
                )
    verdict.stale.extend(decided.values())
    return verdict


def _judged(verdict: Verdict, found: Difference, decision: Decision | None) -> Verdict:
    is_equal = found.ours == found.theirs
    if decision is not None and found.theirs == decision.difference.theirs:
        if decision.decision == "second" and is_equal:
            verdict.corrected.append(decision)
            return verdict._replace(compared=verdict.compared + 1)
        if decision.decision != "second" and found == decision.difference:
            verdict.explained.append(decision)
            return verdict._replace(compared=verdict.compared + 1)
    if decision is not None:
        verdict.stale.append(decision)
    if not is_equal:
        verdict.unexplained.append(found)
    return verdict._replace(compared=verdict.compared + 1, agree=verdict.agree + is_equal)


def base_prices(points: Sequence[PricePoint]) -> dict[str, Decimal]:
    """USD per million tokens. A unit with hours of its own has its dearest: a second source knows but one price."""
    found: dict[str, Decimal] = {}
    for point in points:
        if point.unit in UNITS and not (
            point.service_tier or point.processing or point.above_input_tokens or point.variant
        ):
            usd = (Decimal(point.price_pusd) / point.per_units / 10**6).quantize(_SIX_DECIMALS, rounding=ROUND_HALF_EVEN)
            found[point.unit] = max(usd, found.get(point.unit, usd))
    return found


def plain(usd: Decimal) -> str:
    text = f"{usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _in_force(find: PriceBook, model: ModelId, moment: datetime) -> tuple[PricePoint, ...]:
    for price in find(*model):
        if price.effective_from <= moment and (price.effective_to is None or moment < price.effective_to):
            return price.points
    return ()
