"""deploy/venv.py, which runs before anything is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_venv", ROOT / "deploy/venv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lacks(venv: ModuleType, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(venv.importlib.util, "find_spec", lambda name: None if name in modules else find(name))


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "deploy/venv.py"), "--help"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_python_without_ensurepip_uses_another_pip_or_names_the_package(
    venv: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacks(venv, monkeypatch, "ensurepip")
    environment = tmp_path / "environment"
    monkeypatch.setattr(venv, "runs", lambda program, *arguments: "--python" in arguments)
    assert venv.prepare(environment)[1:4] == ["-m", "pip", "--python"]
    monkeypatch.setattr(venv, "runs", lambda program, *arguments: False)
    monkeypatch.setattr(venv.shutil, "which", lambda name: None)
    with pytest.raises(venv.Failed, match=r"apt install python3\.\d+-venv"):
        venv.prepare(environment)
    monkeypatch.setattr(venv.shutil, "which", lambda name: f"/there/{name}")
    assert venv.prepare(environment)[0] == "/there/uv"


def test_a_python_without_venv_names_the_package(
    venv: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacks(venv, monkeypatch, "venv")
    with pytest.raises(venv.Failed, match="apt install python3-venv"):
        venv.prepare(tmp_path / "environment")


def test_an_environment_that_was_moved_or_is_another_pythons_is_made_anew(
    venv: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(venv, "runs", lambda program, *arguments: True)
    lacks(venv, monkeypatch, "ensurepip")  # without pip: faster
    environment = tmp_path / "environment"
    venv.prepare(environment)
    (environment / "mark").touch()
    venv.prepare(environment)
    assert (environment / "mark").exists()
    moved = environment.rename(tmp_path / "moved")
    venv.prepare(moved)
    assert not (moved / "mark").exists()


def test_without_a_home_that_can_be_written_nothing_is_cached(
    venv: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PIP_NO_CACHE_DIR", raising=False)
    assert "PIP_NO_CACHE_DIR" not in venv.environment()
    monkeypatch.setenv("HOME", "/nonexistent")
    assert venv.environment(tmp_path)["PIP_NO_CACHE_DIR"] == "1"
    assert venv.environment(tmp_path)["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize(
    ("said", "advised"),
    [
        ("ERROR: No matching distribution found for x==1", "PYTHON="),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES: HASHES DO NOT MATCH", "locked"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection", "PIP_INDEX_URL"),
    ],
)
def test_a_failure_says_what_to_do(venv: ModuleType, said: str, advised: str) -> None:
    assert advised in venv.advice(said)


def test_a_failed_installation_shows_the_end_of_what_pip_said(tmp_path: Path) -> None:
    lock = tmp_path / "bad.lock"
    lock.write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/venv.py"), str(tmp_path / "environment"), str(lock)],
        capture_output=True,
        text=True,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "no-such-package" in done.stdout
    assert "PYTHON=" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_make_alone_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = set(makefile.split(".PHONY:")[1].split("\n")[0].split()) - {"help", "moved"}
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in commands:
        assert f"make {command} " in listed


def test_ctrl_c_ends_it_without_a_traceback(
    venv: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(venv, "prepare", interrupt)
    monkeypatch.setattr(sys, "argv", ["venv.py", str(tmp_path / "venv"), str(tmp_path / "lock")])
    assert venv.main() == 130
    assert "Stopped before everything was installed" in capsys.readouterr().out
