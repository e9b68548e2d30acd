from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.corrections.entries import Written, balance, due, unrefunded

BASE = UUID(int=1)


def written(*entries: tuple[str, int]) -> list[Written]:
    return [Written(UUID(int=number), kind, amount) for number, (kind, amount) in enumerate(entries, 1)]


def test_a_balance_tells_charged_credited_and_refunded_apart() -> None:
    there = balance(written(("platform_fee", 10), ("credit", -4), ("adjustment", 5), ("refund", -6), ("credit", 1)))
    assert there.base is not None and there.base.id == BASE
    assert (there.charged_pusd, there.credited_pusd, there.refunded_pusd, there.owed_pusd) == (15, 3, 6, 6)


def test_the_first_amount_is_an_entry_and_every_later_one_names_it() -> None:
    first = due("usage", 0, 65, balance([]), "why")
    assert first is not None and (first.kind, first.amount_pusd, first.names_base) == ("usage", 65, False)
    later = due("none", 65, 0, balance(written(("usage", 65))), "why")
    assert later is not None and (later.kind, later.amount_pusd, later.names_base) == ("adjustment", -65, True)
    assert due("usage", 0, 0, balance([]), "why") is None
    assert due("usage", 65, 65, balance(written(("usage", 65))), "why") is None


def test_what_was_refunded_is_not_given_back_twice() -> None:
    back = unrefunded(balance(written(("usage", 10), ("refund", -10), ("adjustment", -4))))
    assert back is not None and (back.kind, back.amount_pusd, back.names_base) == ("refund", 4, True)
    assert unrefunded(balance(written(("usage", 10), ("refund", -6), ("adjustment", -4)))) is None


@given(st.integers(0, 99), st.integers(0, 99), st.data())
def test_nobody_is_given_more_than_was_charged(old: int, new: int, data: st.DataObject) -> None:
    entries = written(("usage", old), ("refund", -data.draw(st.integers(0, old))))
    found = due("usage", old, new, balance(entries), "why")
    if found is not None:
        entries += written((found.kind, found.amount_pusd))
    back = unrefunded(balance(entries))
    if back is not None:
        entries += written((back.kind, back.amount_pusd))
    assert balance(entries).owed_pusd >= 0
    assert balance(entries).charged_pusd == new
