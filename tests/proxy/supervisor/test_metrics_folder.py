"""Empty at every start, and its owner can empty it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from proxy.supervisor.metrics_folder import metrics_folder
from proxy.supervisor.problem import ServeProblem


def test_what_an_earlier_start_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/counter_1.db").touch()
    path = metrics_folder(tmp_path)
    assert list(path.iterdir()) == [] and path.stat().st_mode & 0o777 == 0o700


def test_root_leaves_it_to_the_owner_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, int, int]] = []
    stat = Path.stat

    class Owned:
        st_uid, st_gid = 1234, 5678

    monkeypatch.setattr(Path, "stat", lambda path, **more: Owned() if path == tmp_path else stat(path, **more))
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    path = metrics_folder(tmp_path)
    assert given == [(path, 1234, 5678)]
    monkeypatch.setattr(os, "geteuid", lambda: 1234)  # somebody who may not give files away
    metrics_folder(tmp_path)
    assert len(given) == 1


def test_one_that_root_left_before_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(ServeProblem, match="sudo rm -r"):
        metrics_folder(tmp_path)
