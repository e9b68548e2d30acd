from __future__ import annotations

import pytest

from proxy.cli.basis_points import basis_points, percent
from proxy.cli.fault import Fault


@pytest.mark.parametrize(
    ("text", "bps"),
    [("12.5%", 1_250), ("5%", 500), ("0%", 0), ("-10%", -1_000), ("+0.01%", 1), ("1250bps", 1_250), ("-7bps", -7)],
)
def test_as_people_write_it(text: str, bps: int) -> None:
    assert basis_points(text) == bps


@pytest.mark.parametrize("text", ["12.5", "0.125", "1e3%", "0.001%", "1.5bps", "", "%", "٥%", "nan%", "1 250bps"])
def test_what_is_not_plain_is_asked_about(text: str) -> None:
    with pytest.raises(Fault):
        basis_points(text)


@pytest.mark.parametrize(
    ("bps", "text"), [(1_250, "12.5%"), (500, "5%"), (0, "0%"), (-7, "-0.07%"), (10_000, "100%"), (10, "0.1%")]
)
def test_and_back(bps: int, text: str) -> None:
    assert percent(bps) == text
    assert basis_points(text) == bps
