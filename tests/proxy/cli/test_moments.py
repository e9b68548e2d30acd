"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.cli.fault import Fault
from proxy.cli.moments import ahead, back

NOW = datetime(2026, 11, 24, 16, 40, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", "2027-02-22T16:40:05Z"), ("24h", "2026-11-25T16:40:05Z"), ("2w", "2026-12-08T16:40:05Z"),
        ("2026-12-31", "2027-01-01T00:00:00Z"), ("2026-12-31T12:00:00+02:00", "2026-12-31T10:00:00Z"),
        ("2026-12-31T12:00:00", "2026-12-31T12:00:00Z"),
    ],
)
def test_ahead(text: str, expected: str) -> None:
    assert ahead(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30d", "2026-10-25T16:00:00Z"), ("today", "2026-11-24T00:00:00Z"), ("2026-11-01", "2026-11-01T00:00:00Z")],
)
def test_back_to_a_whole_hour(text: str, expected: str) -> None:
    assert back(text, NOW, whole_hour=True) == expected


def test_last_day_is_included() -> None:
    assert back("2026-11-30", NOW, end_of_day=True) == "2026-12-01T00:00:00Z"
    assert back("today", NOW, end_of_day=True, whole_hour=True) == "2026-11-25T00:00:00Z"


def test_a_moment_inside_an_hour_is_not_widened_in_silence() -> None:
    assert back("2026-11-24T05:00:00Z", NOW, whole_hour=True) == "2026-11-24T05:00:00Z"
    with pytest.raises(Fault, match="whole hour"):
        back("2026-11-24T05:16:00Z", NOW, whole_hour=True)


@pytest.mark.parametrize("text", ["", "soon", "90", "1y", "2026-13-01", "-1d", "2020-01-01"])
def test_no_moment_to_come(text: str) -> None:
    with pytest.raises(Fault) as caught:
        ahead(text, NOW)
    assert caught.value.code == 2
