from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from pricing.book import DAWN, DatedPrice
from pricing.price_text import PricePoint, digest
from proxy.catalog.price_changes import (
    Changes,
    Origin,
    Piece,
    Stored,
    first_difference,
    overlay,
    price_changes,
    stored_pieces,
    wanted_pieces,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def price(amount: int, start: datetime = DAWN, end: datetime | None = None) -> DatedPrice:
    return DatedPrice(start, end, "test", "", (PricePoint("input", amount),))


def follow(
    stored: list[Stored], wanted: list[DatedPrice], now: datetime, origin: Origin = "book"
) -> Changes:
    return price_changes(stored, wanted_pieces(wanted, origin), now)


def applied(stored: list[Stored], changes: Changes) -> list[Stored]:
    """What the store would hold afterwards; refuses what its constraints refuse, at each step."""
    after = [v for v in stored if v.id not in changes.drops and v.id not in changes.supersedes]
    for id, end in changes.ends.items():
        after = [v._replace(effective_to=end) if v.id == id else v for v in after]
        no_overlap(after)
    for p in changes.adds:
        after.append(Stored(uuid4(), p.effective_from, p.effective_to, p.digest, p.origin, "test"))
        no_overlap(after)
    return sorted(after, key=lambda version: version.effective_from)


def no_overlap(versions: list[Stored]) -> None:
    versions = sorted(versions, key=lambda version: version.effective_from)
    for version in versions:
        assert version.effective_to is None or version.effective_to > version.effective_from
    for earlier, later in zip(versions, versions[1:], strict=False):
        assert earlier.effective_to is not None
        assert earlier.effective_to <= later.effective_from  # never two in force


def at(stored: list[Stored], moment: datetime) -> str | None:
    for version in stored:
        if version.effective_from <= moment and (version.effective_to is None or moment < version.effective_to):
            return version.digest
    return None


def of(amount: int) -> str:
    return digest((PricePoint("input", amount),))


def test_a_new_route_receives_the_whole_history() -> None:
    history = [price(10, DAWN, NOW - DAY), price(2, NOW - DAY, NOW + DAY), price(1, NOW + DAY)]
    assert follow([], history, NOW) == Changes([], [], {}, wanted_pieces(history, "book"))


def test_an_unchanged_price_changes_nothing() -> None:
    stored = applied([], follow([], [price(1)], NOW))
    assert not any(follow(stored, [price(1)], NOW + DAY))


def test_a_changed_price_takes_over_now_and_the_past_keeps_its_price() -> None:
    stored = applied([], follow([], [price(1)], NOW - DAY))
    after = applied(stored, follow(stored, [price(2)], NOW))
    assert [at(after, moment) for moment in (DAWN, NOW - timedelta(microseconds=1), NOW, NOW + DAY)] == [
        of(1), of(1), of(2), of(2)]


def test_a_price_that_the_book_dates_back_still_takes_over_only_now() -> None:
    stored = applied([], follow([], [price(1)], NOW - 30 * DAY))
    after = applied(stored, follow(stored, [price(1, DAWN, NOW - 7 * DAY), price(2, NOW - 7 * DAY)], NOW))
    assert at(after, NOW - DAY) == of(1)
    assert at(after, NOW) == of(2)


def test_an_announced_price_is_replaced_before_its_day() -> None:
    announced = [price(1, DAWN, NOW + DAY), price(2, NOW + DAY)]
    stored = applied([], follow([], announced, NOW))
    assert not any(follow(stored, announced, NOW))
    moved = [price(1, DAWN, NOW + 2 * DAY), price(3, NOW + 2 * DAY)]
    after = applied(stored, follow(stored, moved, NOW))
    assert [at(after, NOW + days * DAY) for days in (0, 1, 2)] == [of(1), of(1), of(3)]
    called_off = applied(stored, follow(stored, [price(1)], NOW))
    assert at(called_off, NOW + 9 * DAY) == of(1)


def test_an_announced_price_comes_into_force_without_any_change() -> None:
    announced = [price(1, DAWN, NOW + DAY), price(2, NOW + DAY)]
    stored = applied([], follow([], announced, NOW))
    assert not any(follow(stored, announced, NOW + 2 * DAY))


def test_a_price_that_is_gone_ends_and_may_come_back() -> None:
    stored = applied([], follow([], [price(1)], NOW - DAY))
    gone = applied(stored, follow(stored, [], NOW))
    assert (at(gone, NOW - DAY), at(gone, NOW)) == (of(1), None)
    assert not any(follow(gone, [], NOW + DAY))
    back = applied(gone, follow(gone, [price(1)], NOW + DAY))
    assert (at(back, NOW), at(back, NOW + DAY)) == (None, of(1))


def test_of_two_changes_in_one_instant_the_later_counts() -> None:
    stored = applied([], follow([], [price(1, NOW)], NOW))
    changes = follow(stored, [price(2)], NOW)
    assert changes.supersedes == [stored[0].id]  # an event may name it
    assert at(applied(stored, changes), NOW) == of(2)


@st.composite
def histories(draw: st.DrawFn) -> list[DatedPrice]:
    offsets = sorted(draw(st.sets(st.integers(min_value=-5, max_value=5), max_size=4)))
    starts = [DAWN, *(NOW + offset * DAY for offset in offsets)] if draw(st.booleans()) else [DAWN]
    ends: list[datetime | None] = [*starts[1:], None]
    amounts = st.integers(min_value=0, max_value=2)
    return [price(draw(amounts), start, end) for start, end in zip(starts, ends, strict=True)]


@given(st.lists(st.tuples(histories() | st.just([]), st.integers(min_value=0, max_value=2)), max_size=6))
def test_whatever_changes_the_wanted_price_is_in_force_and_the_past_stands(
    steps: list[tuple[list[DatedPrice], int]],
) -> None:
    stored: list[Stored] = []
    now = NOW - 3 * DAY
    instant = timedelta(microseconds=1)
    for wanted, days in steps:
        before = [at(stored, now - ago * DAY - instant) for ago in range(8)] if stored else None
        stored = applied(stored, follow(stored, wanted, now))
        soon = now + instant * 10
        in_force = next((p for p in wanted if p.effective_from <= soon and (p.effective_to or soon + DAY) > soon), None)
        assert at(stored, soon) == (digest(in_force.points) if in_force else None)
        if before is not None:
            assert [at(stored, now - ago * DAY - instant) for ago in range(8)] == before
        assert not any(follow(stored, wanted, now + instant * 20))
        now += days * DAY + instant * 30


# -- Custom prices, imports ------------------------------------------------------------------------------------------


def custom(amount: int, start: datetime, end: datetime | None = None) -> Piece:
    return wanted_pieces([price(amount, start, end)], "custom")[0]


def put(stored: list[Stored], piece: Piece, now: datetime = NOW) -> tuple[list[Stored], Changes]:
    wanted = overlay(stored_pieces(stored), [piece])
    changes = price_changes(stored, wanted, now, since=piece.effective_from)
    return applied(stored, changes), changes


def booked(*amounts: int) -> list[Stored]:
    """One price per 10 days, the last one for good; `amounts[-1]` since 10 days before now."""
    starts = [NOW - 10 * DAY * back for back in range(len(amounts), 0, -1)]
    ends: list[datetime | None] = [*starts[1:], None]
    prices = [price(a, s, e) for a, s, e in zip(amounts, [DAWN, *starts[1:]], ends, strict=True)]
    return applied([], follow([], prices, NOW - 100 * DAY))


def test_a_price_put_over_a_time_cuts_supersedes_and_goes_on_afterwards() -> None:
    stored = booked(1, 2, 3)
    after, changes = put(stored, custom(9, NOW - 25 * DAY, NOW + DAY))
    assert changes.ends == {stored[0].id: NOW - 25 * DAY}
    assert changes.supersedes == [stored[1].id, stored[2].id]
    assert [(p.origin, p.effective_from, p.content) for p in changes.adds[1:]] == [("book", NOW + DAY, stored[2].id)]
    days = (-26, -25, -11, 0, 1)
    assert [at(after, NOW + day * DAY) for day in days] == [of(1), of(9), of(9), of(9), of(3)]


def test_a_price_put_ahead_replaces_what_was_announced() -> None:
    stored = applied([], follow([], [price(1, DAWN, NOW + DAY), price(2, NOW + DAY)], NOW))
    after, changes = put(stored, custom(9, NOW + 2 * DAY))
    assert (changes.drops, changes.supersedes) == ([], [])
    assert [at(after, NOW + day * DAY) for day in (0, 1, 2)] == [of(1), of(2), of(9)]
    _, changes = put(stored, custom(9, NOW))
    assert changes.drops == [stored[1].id]  # its time never comes


def test_the_same_price_put_twice_changes_nothing() -> None:
    after, _ = put(booked(1, 2), custom(9, NOW - DAY, NOW + DAY))
    again, changes = put(after, custom(9, NOW - DAY, NOW + DAY))
    assert not any(changes) and again == after


@given(
    st.lists(st.tuples(st.integers(-40, 40), st.integers(1, 30) | st.none(), st.integers(4, 6)), max_size=6),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
def test_whatever_is_put_holds_for_its_time_and_nothing_else_changes(
    spans: list[tuple[int, int | None, int]], amounts: list[int]
) -> None:
    stored = booked(*amounts)
    days = [NOW + day * DAY + DAY / 2 for day in range(-45, 75)]
    expected = [at(stored, day) for day in days]
    for start, length, amount in spans:
        piece = custom(amount, NOW + start * DAY, None if length is None else NOW + (start + length) * DAY)
        stored, _ = put(stored, piece)
        expected = [
            of(amount) if piece.effective_from <= day and (piece.effective_to is None or day < piece.effective_to) else old
            for day, old in zip(days, expected, strict=True)
        ]
        assert [at(stored, day) for day in days] == expected
        assert not any(put(stored, piece)[1])


def test_the_book_fills_what_custom_prices_leave() -> None:
    stored, _ = put(booked(1, 2), custom(9, NOW - DAY, NOW + DAY))
    wanted = overlay(wanted_pieces([price(5)], "book"), stored_pieces(v for v in stored if v.origin == "custom"))
    after = applied(stored, price_changes(stored, wanted, NOW))
    assert [at(after, NOW + day * DAY) for day in (-2, -1, 0, 1)] == [of(2), of(9), of(9), of(5)]
    assert not any(price_changes(after, wanted, NOW + DAY / 2))


def test_what_config_names_is_config_even_at_the_same_price() -> None:
    stored = booked(1)
    after = applied(stored, follow(stored, [price(1)], NOW, "config"))
    assert [v.origin for v in after] == ["book", "config"]
    assert not any(follow(stored, [price(1)], NOW, "import"))  # a list price is the same list price


def test_the_first_moment_at_which_a_dated_history_differs() -> None:
    stored = booked(1, 2, 3)
    same = [price(1, DAWN, NOW - 20 * DAY), price(2, NOW - 20 * DAY, NOW - 10 * DAY), price(3, NOW - 10 * DAY)]
    dated = NOW - 20 * DAY

    def first(*history: DatedPrice) -> datetime:
        return first_difference(stored, wanted_pieces(history, "import"), dated, NOW)

    assert first(*same) == NOW
    assert first(same[0], same[1], price(4, NOW - 10 * DAY)) == NOW - 10 * DAY
    earlier = NOW - 15 * DAY
    assert first(same[0], same[1]._replace(effective_to=earlier), price(3, earlier)) == earlier
    assert first(price(7, DAWN, NOW - 20 * DAY), *same[1:]) == NOW  # the undated start is left alone
    assert first_difference(stored, wanted_pieces([price(7)], "import"), None, NOW) == NOW
