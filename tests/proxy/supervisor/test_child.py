"""When a child is started again; time is an argument."""

from __future__ import annotations

import signal
import subprocess

import pytest

from proxy.supervisor.child import LIVED_LONG_S, LONGEST_PAUSE_S, Child


class Dying:
    """Every process of it ends at once."""

    name = "dying"
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.now = 0.0
        self.missing = False

    def start(self) -> subprocess.Popen[bytes]:
        self.starts.append(self.now)
        if self.missing:
            raise FileNotFoundError("no such program")
        process = subprocess.Popen(["true"])
        process.wait()
        return process

    def ready(self) -> bool:
        return False


def look_until(child: Child, kind: Dying, end: float) -> None:
    while kind.now < end:
        kind.now += 0.05
        child.look(kind.now)


def pauses(kind: Dying) -> list[float]:
    return [round(later - earlier, 1) for earlier, later in zip(kind.starts, kind.starts[1:], strict=False)]


@pytest.mark.parametrize("missing", [False, True])
def test_pauses_double_up_to_a_bound(missing: bool) -> None:
    kind = Dying()
    child = Child(kind)
    child.start(0.0)
    kind.missing = missing
    look_until(child, kind, 120)
    seen = pauses(kind)
    assert seen[0] < 0.3
    assert all(later >= earlier for earlier, later in zip(seen, seen[1:], strict=False))
    assert LONGEST_PAUSE_S <= max(seen) <= LONGEST_PAUSE_S + 0.2


def test_who_lived_long_starts_again_at_once() -> None:
    kind = Dying()
    child = Child(kind)
    child.start(0.0)
    look_until(child, kind, 60)
    child.start(kind.now)
    kind.now += LIVED_LONG_S
    died = kind.now
    count = len(kind.starts)
    look_until(child, kind, died + 1)
    assert kind.starts[count] - died < 0.3


def test_a_death_is_told_with_its_pid() -> None:
    dead: list[int] = []
    kind = Dying()
    child = Child(kind, on_death=dead.append)
    child.start(0.0)
    assert child.process is not None
    pid = child.process.pid
    child.look(0.0)
    assert dead == [pid]
