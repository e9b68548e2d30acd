"""The monthly allowance on platform fees, as arithmetic."""

from __future__ import annotations

from collections import Counter
from datetime import date
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.allowance import Credit, Fee, Month, waive

ACME, RIVAL = UUID(int=1), UUID(int=2)
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


def fee(pusd: int, *, credited: int = 0, free: int = 100, month: Month = (ACME, MAY)) -> Fee:
    return Fee(month, uuid4(), pusd, credited, free)


def test_the_first_come_have_it_and_the_last_of_them_in_part() -> None:
    first, second, third = fee(60), fee(60), fee(60)
    assert waive([first, second, third], {}) == [Credit(first, 60), Credit(second, 40)]


def test_what_was_used_before_counts_and_months_and_workspaces_are_apart() -> None:
    may, june, rival = fee(60), fee(60, month=(ACME, JUNE)), fee(60, month=(RIVAL, MAY))
    used = {(ACME, MAY): 90, (ACME, JUNE): 100}
    assert waive([may, june, rival], used) == [Credit(may, 10), Credit(rival, 60)]


def test_a_fee_that_shrank_gives_back_what_others_may_have() -> None:
    shrunk, other = fee(10, credited=100), fee(60)
    assert waive([other, shrunk], {(ACME, MAY): 100}) == [Credit(shrunk, -90), Credit(other, 60)]


def test_a_fee_that_grew_has_more_as_far_as_there_is() -> None:
    grown = fee(80, credited=30)
    assert waive([grown], {(ACME, MAY): 70}) == [Credit(grown, 30)]
    assert waive([fee(80, credited=80)], {(ACME, MAY): 80}) == []


def test_a_smaller_allowance_takes_nothing_back() -> None:
    assert waive([fee(80, free=50)], {(ACME, MAY): 70}) == []


fees_of_months = st.lists(
    st.builds(
        lambda pusd, credited, month: fee(pusd, credited=credited, month=(ACME, month)),
        st.integers(0, 120), st.integers(0, 120), st.sampled_from([MAY, JUNE]),
    ),
    max_size=8,
)  # fmt: skip


@given(fees_of_months)
def test_never_more_than_the_fee_and_never_more_than_the_month(fees: list[Fee]) -> None:
    used: Counter[Month] = Counter()
    for each in fees:
        used[each.month] += each.credited_pusd
    before = Counter(used)
    given_now = {each.entry_id: each.credited_pusd for each in fees}
    for credit in waive(fees, used):
        given_now[credit.fee.entry_id] += credit.pusd
        used[credit.fee.month] += credit.pusd
    for each in fees:
        assert 0 <= given_now[each.entry_id] <= each.fee_pusd
    for month in (ACME, MAY), (ACME, JUNE):
        of_month = [each for each in fees if each.month == month]
        assert used[month] <= max(100, before[month])
        # Nothing is left over while a fee could have it.
        if any(given_now[each.entry_id] < each.fee_pusd for each in of_month):
            assert used[month] >= 100
