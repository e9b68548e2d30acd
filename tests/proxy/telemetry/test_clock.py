from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.clock import Clock


class Hands:
    """A machine: its wall clock is wrong by `wrong_s`, its steady clock counts from its start."""

    def __init__(self, wrong_s: float = 0.0) -> None:
        self.true_s = 1_700_000_000.0
        self.wrong_s = wrong_s

    def clock(self) -> Clock:
        return Clock(wall_s=lambda: self.true_s + self.wrong_s, steady_s=lambda: self.true_s - 1_600_000_000.0)

    def true_ms(self) -> int:
        return int(self.true_s * 1000)


def test_before_any_answer_it_is_the_machines() -> None:
    hands = Hands(wrong_s=3600)
    assert abs(hands.clock().now_ms() - hands.true_ms() - 3_600_000) <= 1


@given(
    wrong_s=st.floats(-1e6, 1e6),
    trips=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1, max_size=10),
)
def test_an_answer_sets_it_to_within_the_fastest_round_trip(wrong_s: float, trips: list[tuple[int, int]]) -> None:
    hands = Hands(wrong_s)
    clock = hands.clock()
    for there_ms, back_ms in trips:
        sent = clock.steady_ms()
        hands.true_s += there_ms / 1000
        server_ms = hands.true_ms()
        hands.true_s += back_ms / 1000
        clock.correct(server_ms, sent)
    fastest = min(there_ms + back_ms for there_ms, back_ms in trips)
    assert abs(clock.now_ms() - hands.true_ms()) <= fastest + 2


def test_a_step_of_the_wall_clock_does_not_move_it() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wrong_s = -86_400
    assert abs(clock.now_ms() - hands.true_ms()) <= 1


def test_now_is_utc_to_the_millisecond() -> None:
    clock = Clock(wall_s=lambda: 1_700_000_000.123, steady_s=lambda: 0.0)
    assert clock.now() == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
