from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from pricing.book import DAWN, DatedPrice
from pricing.price_text import PricePoint, digest
from proxy.catalog.price_changes import Changes, Stored, price_changes

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def price(amount: int, start: datetime = DAWN, end: datetime | None = None) -> DatedPrice:
    return DatedPrice(start, end, "test", "", (PricePoint("input", amount),))


def applied(stored: list[Stored], changes: Changes) -> list[Stored]:
    """What the store would hold afterwards; refuses what its constraints refuse."""
    kept = [v for v in stored if v.id not in changes.drops]
    kept = [v._replace(effective_to=changes.ends.get(v.id, v.effective_to)) for v in kept]
    after = kept + [Stored(uuid4(), p.effective_from, p.effective_to, digest(p.points)) for p in changes.adds]
    after.sort(key=lambda version: version.effective_from)
    for version in after:
        assert version.effective_to is None or version.effective_to > version.effective_from
    for earlier, later in zip(after, after[1:], strict=False):
        assert earlier.effective_to is not None
        assert earlier.effective_to <= later.effective_from  # never two in force
    return after


def at(stored: list[Stored], moment: datetime) -> str | None:
    for version in stored:
        if version.effective_from <= moment and (version.effective_to is None or moment < version.effective_to):
            return version.digest
    return None


def of(amount: int) -> str:
    return digest((PricePoint("input", amount),))


def test_a_new_route_receives_the_whole_history() -> None:
    history = [price(10, DAWN, NOW - DAY), price(2, NOW - DAY, NOW + DAY), price(1, NOW + DAY)]
    assert price_changes([], history, NOW) == Changes({}, [], history)


def test_an_unchanged_price_changes_nothing() -> None:
    stored = applied([], price_changes([], [price(1)], NOW))
    assert not any(price_changes(stored, [price(1)], NOW + DAY))


def test_a_changed_price_takes_over_now_and_the_past_keeps_its_price() -> None:
    stored = applied([], price_changes([], [price(1)], NOW - DAY))
    after = applied(stored, price_changes(stored, [price(2)], NOW))
    assert [at(after, moment) for moment in (DAWN, NOW - timedelta(microseconds=1), NOW, NOW + DAY)] == [
        of(1), of(1), of(2), of(2)]


def test_a_price_that_the_book_dates_back_still_takes_over_only_now() -> None:
    stored = applied([], price_changes([], [price(1)], NOW - 30 * DAY))
    after = applied(stored, price_changes(stored, [price(1, DAWN, NOW - 7 * DAY), price(2, NOW - 7 * DAY)], NOW))
    assert at(after, NOW - DAY) == of(1)
    assert at(after, NOW) == of(2)


def test_an_announced_price_is_replaced_before_its_day() -> None:
    announced = [price(1, DAWN, NOW + DAY), price(2, NOW + DAY)]
    stored = applied([], price_changes([], announced, NOW))
    assert not any(price_changes(stored, announced, NOW))
    moved = [price(1, DAWN, NOW + 2 * DAY), price(3, NOW + 2 * DAY)]
    after = applied(stored, price_changes(stored, moved, NOW))
    assert [at(after, NOW + days * DAY) for days in (0, 1, 2)] == [of(1), of(1), of(3)]
    called_off = applied(stored, price_changes(stored, [price(1)], NOW))
    assert at(called_off, NOW + 9 * DAY) == of(1)


def test_an_announced_price_comes_into_force_without_any_change() -> None:
    announced = [price(1, DAWN, NOW + DAY), price(2, NOW + DAY)]
    stored = applied([], price_changes([], announced, NOW))
    assert not any(price_changes(stored, announced, NOW + 2 * DAY))


def test_a_price_that_is_gone_ends_and_may_come_back() -> None:
    stored = applied([], price_changes([], [price(1)], NOW - DAY))
    gone = applied(stored, price_changes(stored, [], NOW))
    assert (at(gone, NOW - DAY), at(gone, NOW)) == (of(1), None)
    assert not any(price_changes(gone, [], NOW + DAY))
    back = applied(gone, price_changes(gone, [price(1)], NOW + DAY))
    assert (at(back, NOW), at(back, NOW + DAY)) == (None, of(1))


def test_two_changes_in_one_instant_leave_two_versions() -> None:
    stored = applied([], price_changes([], [price(1, NOW)], NOW))
    after = applied(stored, price_changes(stored, [price(2)], NOW))
    assert at(after, NOW + timedelta(microseconds=1)) == of(2)


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
        stored = applied(stored, price_changes(stored, wanted, now))
        soon = now + instant * 10
        in_force = next((p for p in wanted if p.effective_from <= soon and (p.effective_to or soon + DAY) > soon), None)
        assert at(stored, soon) == (digest(in_force.points) if in_force else None)
        if before is not None:
            assert [at(stored, now - ago * DAY - instant) for ago in range(8)] == before
        assert not any(price_changes(stored, wanted, now + instant * 20))
        now += days * DAY + instant * 30
