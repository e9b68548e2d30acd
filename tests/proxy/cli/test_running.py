"""The note of a running `serve` is believed for as long as it runs, and not longer."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.cli.running import RUNNING_FILE, leave_note, running, take_note_away


@contextmanager
def held(folder: Path, note: dict[str, str | int], pid: int | None = None) -> Iterator[None]:
    """As `serve` leaves it: the note, and the lock with the holder's number."""
    pid = os.getpid() if pid is None else pid
    (folder / RUNNING_FILE).write_text(json.dumps({"pid": pid, **note}))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{pid}\n")
        lock.flush()
        yield


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_while_it_runs(tmp_path: Path) -> None:
    with held(tmp_path, {"url": "http://localhost:1"}):
        assert running(tmp_path) == {"pid": str(os.getpid()), "url": "http://localhost:1"}


def test_of_one_that_was_killed(tmp_path: Path) -> None:
    """The lock is free, whoever has its number now."""
    with held(tmp_path, {"url": "http://localhost:1"}):
        pass
    assert (tmp_path / RUNNING_FILE).exists() and running(tmp_path) == {}


def test_of_one_whose_valkey_still_holds_the_lock(tmp_path: Path, dead_pid: int) -> None:
    with held(tmp_path, {"url": "http://localhost:1"}, pid=dead_pid):
        assert running(tmp_path) == {}


def test_left_before_the_one_that_runs_now(tmp_path: Path, dead_pid: int) -> None:
    with held(tmp_path, {}):
        (tmp_path / RUNNING_FILE).write_text(json.dumps({"pid": dead_pid, "url": "http://localhost:1"}))
        assert running(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{half", "[]"])
def test_note_that_is_none(tmp_path: Path, text: str) -> None:
    with held(tmp_path, {}):
        (tmp_path / RUNNING_FILE).write_text(text)
        assert running(tmp_path) == {}
    assert running(tmp_path / "none") == {}


def test_written_whole_and_taken_away_only_by_its_writer(tmp_path: Path) -> None:
    (tmp_path / RUNNING_FILE).write_text("of somebody else")
    leave_note(tmp_path, {"pid": os.getpid()})
    assert [path.name for path in tmp_path.iterdir()] == [RUNNING_FILE]
    take_note_away(tmp_path)
    assert list(tmp_path.iterdir()) == []
    leave_note(tmp_path, {"pid": 1})
    take_note_away(tmp_path)
    assert (tmp_path / RUNNING_FILE).exists()
