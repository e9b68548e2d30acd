"""Two clocks, compared without taking the way between them for a difference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from proxy.cli.checks.clock import clock

BEFORE = datetime(2026, 11, 24, tzinfo=UTC)
AFTER = BEFORE + timedelta(seconds=3)


@pytest.mark.parametrize(
    ("theirs_s", "state"),
    [(0, "ok"), (1.5, "ok"), (3, "ok"), (-0.9, "ok"), (-1, "warn"), (4, "warn"), (-30, "bad"), (33, "bad")],
)
def test_difference(theirs_s: float, state: str) -> None:
    assert clock("Redis", BEFORE + timedelta(seconds=theirs_s), BEFORE, AFTER).state == state
