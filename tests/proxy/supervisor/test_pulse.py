"""When a process counts as hung; time is an argument."""

from __future__ import annotations

from proxy.supervisor.pulse import Pulse


class Heart:
    """Says whether it beat since it was asked last."""

    def __init__(self) -> None:
        self.beats = 0

    def __call__(self) -> bool:
        beats, self.beats = self.beats, 0
        return beats > 0


def looks(pulse: Pulse, start: float, end: float, every: float = 0.2) -> list[bool]:
    return [pulse.hangs(start + step * every) for step in range(int((end - start) / every) + 1)]


def test_silence_after_a_sign() -> None:
    heart = Heart()
    pulse = Pulse(heart, 10)
    heart.beats = 1
    assert not any(looks(pulse, 0, 9.8))
    assert any(looks(pulse, 10, 11))


def test_who_beats_lives() -> None:
    heart = Heart()
    pulse = Pulse(heart, 10)
    for second in range(100):
        heart.beats = 1
        assert not pulse.hangs(float(second))


def test_who_never_beat_is_not_watched() -> None:
    """A start may take as long as the supervisor gives it, and not everything that it starts beats."""
    assert not any(looks(Pulse(Heart(), 10), 0, 1_000))


def test_time_in_which_nobody_looked_is_not_silence() -> None:
    """The machine slept, or we did."""
    heart = Heart()
    pulse = Pulse(heart, 10)
    heart.beats = 1
    assert not pulse.hangs(1)
    assert not pulse.hangs(3_600) and not pulse.hangs(7_200)


def test_new_process_begins_anew() -> None:
    heart = Heart()
    pulse = Pulse(heart, 10)
    heart.beats = 1
    looks(pulse, 0, 9)
    pulse.restart(9)
    assert not any(looks(pulse, 9, 100))


def test_never() -> None:
    heart = Heart()
    pulse = Pulse(heart, 0)
    heart.beats = 1
    assert not any(looks(pulse, 0, 1_000))
