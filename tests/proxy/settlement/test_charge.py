from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settlement.charge import charges

LINES = st.lists(st.integers(0, 2**62), max_size=5)


@given(LINES)
def test_on_our_account_the_list_price_is_owed(lines: list[int]) -> None:
    assert charges("ours", lines) == lines


@given(LINES)
def test_on_an_own_account_nothing_is_owed(lines: list[int]) -> None:
    assert charges("own", lines) == [0] * len(lines)


def test_another_account_is_a_bug() -> None:
    with pytest.raises(ValueError, match="ours or own"):
        charges("theirs", [1])
