from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.test_locks import ROOT, pins


def test_the_second_source_is_locked_alone() -> None:
    """Of it only a file is read: neither its dependencies nor it itself may come into what is developed and run."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = pins("requirements-prices.lock")
    assert [f"{name}=={version}" for name, version in locked.items()] == extras["prices"]
    text = (ROOT / "requirements-prices.lock").read_text()
    assert text.count("--hash=sha256:") >= 1 and "://" not in text
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert not locked.keys() & pins(lock).keys()


def test_it_is_installed_without_what_it_would_bring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("deploy_venv", ROOT / "deploy/venv.py")
    assert spec is not None and spec.loader is not None
    venv = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(venv)
    installed: list[list[str]] = []
    monkeypatch.setattr(venv, "prepare", lambda folder: ["pip", "install"])
    monkeypatch.setattr(venv, "install", lambda tool, folder, what, total=0: installed.append(what))
    locks = ["requirements-dev.lock", "--alone", "requirements-prices.lock"]
    monkeypatch.setattr(sys, "argv", ["venv.py", str(tmp_path), *(str(ROOT / x) if x[0] != "-" else x for x in locks)])
    assert venv.main() == 0
    assert [("--no-deps" in what, what[-1].rpartition("/")[2]) for what in installed] == [
        (False, "requirements-dev.lock"), (True, "requirements-prices.lock")]
    assert all("--require-hashes" in what for what in installed)
    makefile = (ROOT / "Makefile").read_text()
    assert "requirements-dev.lock --alone requirements-prices.lock" in makefile
