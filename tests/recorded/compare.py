"""Every recorded exchange through our readers and prices, and through genai-prices'; what differs, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from pricing.price import PriceVersion, Unpriced
from pricing.usage import Usage
from tests.recorded import ours, theirs
from tests.recorded.cases import CostCase, Differing, UsageCase
from tests.recorded.differences import COST, STATED, USAGE, CostRule
from tests.recorded.exchanges import Exchange, everything


@dataclass
class Report:
    """Counts by what they are of; `unexplained`: a line each; `examples`: the first exchange that a rule explained."""

    exchanges: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # provider, dialect, what was found
    usage_rules: Counter[str] = field(default_factory=Counter)
    costs: Counter[str] = field(default_factory=Counter)
    stated: Counter[str] = field(default_factory=Counter)  # against what the provider says that it took
    cost_rules: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        return self.answers.total()

    @property
    def with_usage(self) -> int:
        return sum(count for (_, _, found), count in self.answers.items() if found != NO_USAGE)


EQUAL, EXPLAINED, UNEXPLAINED, NO_USAGE = "equal", "explained", "UNEXPLAINED", "no usage"


def compare() -> Report:
    report = Report()
    for exchange in everything():
        report.exchanges += 1
        report.sources[exchange.source] += 1
        if exchange.other and not exchange.is_error:
            report.others[exchange.other] += 1
            continue
        mine, other = ours.find(exchange), theirs.find(exchange)
        report.answers[exchange.provider, exchange.dialect, _compare_usage(report, exchange, mine, other)] += 1
        if mine.usage is not None:
            _compare_cost(report, exchange, mine.usage, mine, other)
    return report


def differing(mine: dict[str, int], other: theirs.Found) -> Differing:
    """Missing and zero differ, except where their reader does not look for it."""
    found = {}
    for name in mine.keys() | other.usage.keys():
        left, right = mine.get(name), other.usage.get(name)
        silent = right is None and name not in other.names
        if left != right and not (silent and left == 0):
            found[name] = (left, right)
    return found


def _compare_usage(report: Report, exchange: Exchange, mine: ours.Found, other: theirs.Found) -> str:
    terms = mine.in_their_terms()
    if not terms and not other.usage and not mine.garbled:
        return NO_USAGE
    case = UsageCase(exchange, mine, other, differing(terms, other))
    if not case.differing and not mine.garbled:
        return EQUAL
    rule = next((rule for rule in USAGE if rule.explains(case)), None)
    if rule is None:
        said = f"garbled {mine.garbled}" if mine.garbled else dict(case.differing)
        report.unexplained.append(f"usage of {exchange.name}: {said} (ours, theirs); {other.why}")
        return UNEXPLAINED
    report.usage_rules[rule.name] += 1
    report.examples.setdefault(rule.name, exchange.name)
    return EXPLAINED


def _compare_cost(report: Report, exchange: Exchange, usage: Usage, mine: ours.Found, other: theirs.Found) -> None:
    """At the price of the moment of the recording. Both price what we read: that the readings agree is the other comparison."""
    model, price = known_price(exchange, other)
    if isinstance(price, Unpriced):
        report.costs[f"not in our book: {exchange.provider}"] += 1
        return
    rated = ours.rated(usage, price, exchange.moment)
    terms = {name: count for name, count in mine.in_their_terms().items() if count and name in ours.THEIR_NAMES}
    calculated = theirs.price(terms, exchange.provider, model, exchange.moment, other.served)
    unpriced = None if rated.priced else rated.why
    case = CostCase(exchange, model, usage.units, rated.list_pusd, unpriced, calculated, other.served)
    if calculated.usd is None:
        report.costs[f"not in theirs: {exchange.provider}"] += 1
    else:
        report.costs[_explained(report, case, COST)] += 1
    if other.stated is not None:
        stated = replace(case, theirs=theirs.Price(other.stated, "stated"))
        report.stated[_explained(report, stated, STATED)] += 1


def _explained(report: Report, case: CostCase, rules: tuple[CostRule, ...]) -> str:
    if case.equal and case.unpriced is None:
        return EQUAL
    rule = next((rule for rule in rules if rule.explains(case)), None)
    if rule is None:
        report.unexplained.append(
            f"cost of {case.exchange.name}, {case.model}: ours {case.ours_pusd} pUSD ({case.unpriced or 'priced'}), "
            f"theirs {case.theirs_pusd} ({case.theirs.model}) for {dict(case.units)} {dict(case.context)}"
        )
        return UNEXPLAINED
    report.cost_rules[rule.name] += 1
    report.examples.setdefault(rule.name, case.exchange.name)
    return EXPLAINED


def known_price(exchange: Exchange, other: theirs.Found) -> tuple[str, PriceVersion | Unpriced]:
    """Of the model that was asked for, as a route names it; else of the one that the answer names."""
    models = [str(exchange.asked.get("model") or ""), other.model]
    prices = [(model, ours.price_of(exchange.provider, model, exchange.moment)) for model in models if model]
    return next(
        ((model, price) for model, price in prices if not isinstance(price, Unpriced)), ("", Unpriced("not known"))
    )
