from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.corrections.entries import Written, balance, due, refund_due

BASE = UUID(int=1)


def written(*entries: tuple[str, int]) -> list[Written]:
    return [Written(UUID(int=number), kind, amount) for number, (kind, amount) in enumerate(entries, 1)]


def test_a_balance_tells_charged_credited_and_refunded_apart() -> None:
    there = balance(written(("platform_fee", 10), ("credit", -4), ("adjustment", 5), ("refund", -6), ("credit", 1)))
    assert there.base is not None and there.base.id == BASE
    assert (there.charged_pusd, there.credited_pusd, there.refunded_pusd, there.owed_pusd) == (15, 3, 6, 6)


def test_the_first_amount_is_an_entry_and_every_later_one_names_it() -> None:
    first = due("usage", 0, 65, balance([]), "why")
    assert first is not None and (first.kind, first.amount_pusd, first.corrects) == ("usage", 65, None)
    later = due("none", 65, 0, balance(written(("usage", 65))), "why")
    assert later is not None and (later.kind, later.amount_pusd, later.corrects) == ("adjustment", -65, BASE)
    assert due("usage", 0, 0, balance([]), "why") is None
    assert due("usage", 65, 65, balance(written(("usage", 65))), "why") is None


def granted(charged: int, *more: tuple[str, int]) -> list[Written]:
    """A refund of all of it, that names the base; then what came of it, which does not."""
    return [*written(("usage", charged)), Written(UUID(int=50), "refund", -charged, BASE), *written(*more)]


def test_what_was_refunded_is_not_given_back_twice() -> None:
    back = refund_due(balance(granted(10, ("adjustment", -4))))
    assert back is not None and (back.kind, back.amount_pusd, back.corrects) == ("refund", 4, UUID(int=50))
    part = [*written(("usage", 10)), Written(UUID(int=50), "refund", -6, BASE), *written(("adjustment", -4))]
    assert refund_due(balance(part)) is None


def test_what_is_charged_again_is_refunded_again() -> None:
    again = refund_due(balance(granted(10, ("adjustment", -4), ("refund", 4), ("adjustment", 9))))
    # 15 is charged now, and 10 was granted.
    assert again is not None and (again.kind, again.amount_pusd, again.corrects) == ("refund", -4, UUID(int=50))


@given(st.integers(0, 99), st.lists(st.integers(0, 99), max_size=6), st.data())
def test_a_refund_is_given_as_far_as_it_is_charged(first: int, then: list[int], data: st.DataObject) -> None:
    grant = data.draw(st.integers(0, first))
    entries = [*written(("usage", first)), Written(UUID(int=50), "refund", -grant, BASE)]
    charged = first
    for new in then:
        if (found := due("usage", charged, new, balance(entries), "why")) is not None:
            entries.append(Written(UUID(int=60), found.kind, found.amount_pusd, found.corrects))
        if (back := refund_due(balance(entries))) is not None:
            entries.append(Written(UUID(int=70), back.kind, back.amount_pusd, back.corrects))
        charged = new
        there = balance(entries)
        assert (there.charged_pusd, there.owed_pusd) == (new, new - min(grant, new))
        assert refund_due(there) is None
