from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.storage.embedded import folder as folder_module
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.problem import StoreProblem

HOLD = "import sys; from pathlib import Path; from proxy.storage.embedded.folder import DataFolder\n"


def test_a_second_opening_is_refused_at_once_and_names_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = DataFolder(tmp_path)
    monkeypatch.setattr(folder_module.time, "sleep", lambda seconds: pytest.fail("waited for one that is alive"))
    with pytest.raises(StoreProblem, match=f"process {os.getpid()}") as caught:
        DataFolder(tmp_path)
    assert "--data-dir" in str(caught.value)
    held.close()
    DataFolder(tmp_path).close()


def test_a_lock_whose_taker_died_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Valkey holds it a moment longer."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD + "DataFolder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"]
        + [str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    looks: list[int] = []

    def taker_is_running(pid: int) -> bool:
        """Says that the taker is dead, and at the third look lets the lock go."""
        looks.append(pid)
        if len(looks) == 3 and holder.stdin is not None:
            holder.stdin.close()
        return False

    monkeypatch.setattr(folder_module, "is_running", taker_is_running)
    DataFolder(tmp_path).close()
    assert looks[0] == holder.pid
    assert len(looks) >= 3
    holder.wait()
    holder.stdout.close()


def test_waiting_for_a_lock_ends_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = DataFolder(tmp_path)
    monkeypatch.setattr(folder_module, "is_running", lambda pid: False)
    with pytest.raises(StoreProblem):
        DataFolder(tmp_path, give_up=lambda: True)
    held.close()


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreProblem, match="cannot be used"):
        DataFolder(tmp_path / "file/data")


def test_a_folder_of_somebody_else_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreProblem, match="--data-dir"):
        DataFolder(tmp_path / "data")


def test_a_log_is_private_bounded_and_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOG_MAX_BYTES", 10)
    folder = DataFolder(tmp_path / "data")
    folder.open_stores()
    for text in (b"first, long\n", b"second\n"):
        with folder.open_log("server") as log:
            log.write(text)
    assert folder.log_tail("server") == "second"
    assert folder.log_path("server").with_suffix(".log.1").read_bytes() == b"first, long\n"
    folder.log_path("link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        folder.open_log("link")
    folder.close()


def test_what_a_killed_start_left_elsewhere_is_removed_by_the_next(tmp_path: Path) -> None:
    code = HOLD + "import os; f = DataFolder(Path(sys.argv[1])); f.open_stores(); print(f.make_temporary('/tmp'))"
    done = subprocess.run(
        [sys.executable, "-c", code + "; sys.stdout.flush(); os._exit(9)", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    left = Path(done.stdout.strip())
    assert left.is_dir()
    folder = DataFolder(tmp_path)
    folder.open_stores()
    assert not left.exists()
    folder.close()
