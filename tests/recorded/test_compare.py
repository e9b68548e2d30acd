"""What our readers and prices make of every recorded answer equals what genai-prices' make of it, or a rule says why not."""

from __future__ import annotations

import os
import re

import pytest

from tests.recorded import ours, theirs
from tests.recorded.compare import Report, compare, differing
from tests.recorded.differences import COST, STATED, USAGE
from tests.recorded.exchanges import Exchange, everything
from tests.wire.recordings import available, missing_reason

# A figure of any usage object, under any of its names.
_FIGURE = re.compile(
    rb'"(?:prompt_tokens|completion_tokens|input_tokens|output_tokens|total_tokens|inputTokens|outputTokens'
    rb'|promptTokenCount|candidatesTokenCount|totalTokenCount)"\s*:\s*[1-9]'
)


@pytest.fixture(scope="module")
def report() -> Report:
    return compare()


@pytest.mark.timeout(600)  # the first run fetches the cassettes
def test_every_difference_is_explained(report: Report) -> None:
    assert not report.unexplained, f"{len(report.unexplained)}:\n" + "\n".join(report.unexplained[:30])


def test_nothing_is_left_out(report: Report) -> None:
    """The numbers may grow with the lists of what is fetched."""
    assert available() or os.environ.get("CI") != "true", missing_reason()
    assert report.exchanges == len(everything()) >= 2500
    assert report.read + report.others.total() == report.exchanges
    assert report.with_usage >= 2000
    assert report.costs["equal"] >= 1800


def test_no_rule_explains_what_no_longer_differs(report: Report) -> None:
    if not available():
        pytest.skip(missing_reason())
    unused = [rule.name for rule in USAGE if not report.usage_rules[rule.name]]
    unused += [rule.name for rule in (*COST, *STATED) if not report.cost_rules[rule.name]]
    assert not unused, f"rules that explain nothing: {unused}"


def test_where_nobody_finds_usage_there_is_none() -> None:
    """Both might look past it. What cannot be read (`garbled`) is a difference that a rule explains."""
    readings = [(one, ours.find(one)) for one in everything() if not one.other]
    silent = [
        one for one, found in readings if found.usage is None and not found.garbled and not theirs.find(one).usage
    ]
    missed = [one.name for one in silent if _FIGURE.search(one.body)]
    assert silent and not missed, missed


def test_errors_consume_nothing() -> None:
    errors = [one for one in everything() if one.is_error]
    assert len(errors) > 40
    assert not [one.name for one in errors if ours.find(one).usage is not None]


def test_a_difference_shows() -> None:
    """One token more, one class missing, a zero that nobody reported: each is a difference, and no rule explains it."""
    exchange = next(one for one in everything() if not one.other and one.provider == "openai" and one.dialect == "chat")
    other = theirs.find(exchange)
    terms = ours.find(exchange).in_their_terms()
    assert not differing(terms, other)
    assert differing({**terms, "output_tokens": terms["output_tokens"] + 1}, other).keys() == {"output_tokens"}
    assert differing({**terms, "cache_read_tokens": 1}, other).keys() == {"cache_read_tokens"}
    del terms["output_tokens"]
    assert differing(terms, other).keys() == {"output_tokens"}
    assert differing({**terms, "output_tokens": 0}, other).keys() == {"output_tokens"}


def test_streams_are_fed_in_pieces() -> None:
    streams: list[Exchange] = [one for one in everything() if not one.other and one.is_stream and len(one.body) > 3000]
    assert len(streams) > 400
    for exchange in streams[:50]:
        cut = list(ours.pieces(exchange))
        assert b"".join(cut) == exchange.body and len(cut) > 3
