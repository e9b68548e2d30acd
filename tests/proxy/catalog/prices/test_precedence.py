"""Who wins at a route: config.yaml, custom, import, book."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from pricing.book import DAWN, DatedPrice
from pricing.price_text import PricePoint, digest
from proxy.catalog.plan import RoutePlan
from proxy.catalog.price_changes import Origin, Stored
from proxy.catalog.prices.precedence import is_newer, wanted_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def points(amount: int) -> tuple[PricePoint, ...]:
    return (PricePoint("input", amount),)


def stored(origin: Origin, amount: int, start: datetime, end: datetime | None, source: str = "s 1") -> Stored:
    return Stored(uuid4(), start, end, digest(points(amount)), origin, source)


def book(source: str, *history: tuple[int, datetime, datetime | None]) -> tuple[DatedPrice, ...]:
    return tuple(DatedPrice(start, end, source, "", points(amount)) for amount, start, end in history)


def wanted(
    have: list[Stored], history: tuple[DatedPrice, ...], price: dict[str, object] | None = None
) -> list[tuple[str, datetime, datetime | None]]:
    pieces = wanted_of(RoutePlan("p", "m", price), have, lambda provider, model: history, NOW)
    return [(piece.origin, piece.effective_from, piece.effective_to) for piece in pieces]


BOOK = book("s 1", (1, DAWN, None))


def test_config_hides_everything() -> None:
    have = [stored("custom", 9, NOW - DAY, None), stored("import", 2, DAWN, NOW - DAY)]
    assert wanted(have, BOOK, {"input": "1"}) == [("config", DAWN, None)]


def test_custom_prices_keep_their_times_and_the_book_the_rest() -> None:
    have = [stored("book", 1, DAWN, NOW - DAY), stored("custom", 9, NOW - DAY, NOW + DAY), stored("book", 1, NOW + DAY, None)]
    assert wanted(have, BOOK) == [("book", DAWN, NOW - DAY), ("custom", NOW - DAY, NOW + DAY), ("book", NOW + DAY, None)]


def test_a_custom_price_without_an_end_keeps_the_book_away() -> None:
    assert wanted([stored("custom", 9, NOW - DAY, None)], BOOK)[-1] == ("custom", NOW - DAY, None)


@pytest.mark.parametrize(
    ("imported", "ships", "wins"),
    [("s 2", "s 1", "import"), ("s 2", "s 2", "import"), ("s 2", "s 3", "book"), ("s 0.2.9", "s 0.2.10", "book"),
     ("other 1", "s 3", "import"), ("by hand", "s 3", "import")],
)  # fmt: skip
def test_an_import_holds_until_a_newer_book_ships(imported: str, ships: str, wins: str) -> None:
    have = [stored("book", 1, DAWN, NOW - DAY), stored("import", 2, NOW - DAY, None, imported)]
    assert wanted(have, book(ships, (3, DAWN, None)))[-1][0] == wins


def test_an_import_that_has_ended_holds_no_more() -> None:
    have = [stored("import", 2, DAWN, NOW - DAY, "s 9"), stored("config", 5, NOW - DAY, None)]
    assert wanted(have, BOOK) == [("book", DAWN, None)]


def test_an_import_that_is_still_to_come_holds() -> None:
    have = [stored("book", 1, DAWN, NOW + DAY), stored("import", 2, NOW + DAY, None, "s 2")]
    assert wanted(have, BOOK) == [("book", DAWN, NOW + DAY), ("import", NOW + DAY, None)]


def test_a_book_that_knows_nothing_leaves_an_import() -> None:
    have = [stored("import", 2, DAWN, None, "s 2")]
    assert wanted(have, ()) == [("import", DAWN, None)]


def test_versions_are_compared_as_numbers() -> None:
    assert is_newer("genai-prices 0.10.0", "genai-prices 0.9.9 (dearest time of day)")
    assert not is_newer("genai-prices 0.9.9", "genai-prices 0.10")
    assert not is_newer("genai-prices 2", "litellm 1") and not is_newer("config", "config")
