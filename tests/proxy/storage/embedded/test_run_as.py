from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from proxy.storage.embedded import run_as
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.run_as import account_for


def test_an_ordinary_user_runs_the_servers_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account_for([tmp_path]) is None


def test_root_takes_an_account_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    known = {"nobody": pwd.getpwnam("nobody")}
    monkeypatch.setattr(run_as.pwd, "getpwnam", lambda name: known[name])
    account = account_for([tmp_path / "none"])
    assert account is not None
    assert account.name == "nobody"
    known.clear()
    with pytest.raises(StoreProblem, match="DATABASE_URL"):
        account_for([])
