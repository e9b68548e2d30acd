"""`python -m tests.recorded`: what the comparison of all recorded exchanges found."""

from __future__ import annotations

import argparse
import sys

from tests.recorded import fetch
from tests.recorded.compare import EQUAL, EXPLAINED, NO_USAGE, UNEXPLAINED, Report, compare
from tests.recorded.differences import COST, STATED, USAGE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="fetch the cassettes, compare nothing")
    parser.add_argument("--lock", action="store_true", help="first renew locks/cassettes.txt from cassettes.in")
    options = parser.parse_args()
    try:
        if options.lock:
            fetch.renew_lock()
        if options.fetch:
            print(f"the cassettes are in {fetch.ensure()}")
            return
        report = compare()
    except fetch.CannotFetch as problem:
        sys.exit(str(problem))
    print("\n".join(lines(report)))
    sys.exit(1 if report.unexplained else 0)


def lines(report: Report) -> list[str]:
    out = [
        f"{report.exchanges} exchanges, {report.read} of them answers of a model or errors, {report.with_usage} with usage",
        "",
    ]
    out += [f"{count:6}  {source}" for source, count in sorted(report.sources.items())]
    out += ["", "answers       equal  explained  no usage  UNEXPLAINED"]
    for provider, dialect in sorted({(provider, dialect) for provider, dialect, _ in report.answers}):
        found_there = [report.answers[provider, dialect, found] for found in (EQUAL, EXPLAINED, NO_USAGE, UNEXPLAINED)]
        out.append(f"{provider:10} {dialect:11}" + "".join(f"{count or '.':>9}" for count in found_there))
    out += ["", "no answer of a model"]
    out += [f"{count:6}  {other}" for other, count in report.others.most_common()]
    out += ["", "cost at list price, against genai-prices"]
    out += [f"{count:6}  {what}" for what, count in report.costs.most_common()]
    out += ["", "cost at list price, against what the provider says that it took"]
    out += [f"{count:6}  {what}" for what, count in report.stated.most_common()]
    for title, rules, counts in (
        ("usage", USAGE, report.usage_rules),
        ("cost", COST, report.cost_rules),
        ("cost, with the provider's word", STATED, report.cost_rules),
    ):
        out += ["", f"differences in {title}: how many, why; who is right"]
        out += [f"{counts[rule.name]:6}  {rule.name}: {rule.why} Right: {rule.right}." for rule in rules]
    return [*out, "", *(f"UNEXPLAINED  {line}" for line in report.unexplained)]


if __name__ == "__main__":
    main()
