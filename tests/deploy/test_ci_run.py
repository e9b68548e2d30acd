"""`.ci/run` with a stand-in for make: it must not be green when nothing ran."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ci_run(tmp_path: Path, *, lint: int = 0, test: int = 0, said: str) -> subprocess.CompletedProcess[str]:
    make = tmp_path / "make"
    make.write_text(f"#!/bin/sh\n[ \"$1\" = lint ] && exit {lint}\ncat <<'END'\n{said}\nEND\nexit {test}\n")
    make.chmod(0o755)
    return subprocess.run(
        [str(ROOT / ".ci/run")],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_closing_line_is_the_last(tmp_path: Path) -> None:
    done = ci_run(tmp_path, said="....\n123 passed in 4.56s")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "123 passed in 4.56s"


@pytest.mark.parametrize(
    ("lint", "test", "said"),
    [
        (1, 0, "123 passed in 4.56s"),
        (0, 1, "1 failed, 122 passed in 4.56s"),
        (0, 2, "make: *** [Makefile:30: test] Error 5"),
        (0, 0, "no tests ran in 0.01s"),
        (0, 0, ""),
    ],
)
def test_anything_else_fails(tmp_path: Path, lint: int, test: int, said: str) -> None:
    assert ci_run(tmp_path, lint=lint, test=test, said=said).returncode != 0
