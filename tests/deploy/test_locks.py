from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", text)[0].lower().replace("_", "-") for text in requirements}


def test_development_runs_what_users_run() -> None:
    users, developers = pins("requirements.lock"), pins("requirements-dev.lock")
    assert users
    assert users.items() <= developers.items()


def test_everything_that_is_asked_for_is_locked() -> None:
    """`make lock` after a change of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = named(project["project"]["dependencies"]) | named(extras["embedded"]) | {"setuptools"}
    assert asked <= pins("requirements.lock").keys()
    assert asked | named(extras["dev"]) <= pins("requirements-dev.lock").keys()


def test_locks_have_hashes_and_no_index_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert text.count("--hash=sha256:") >= len(pins(name))
        assert "index-url" not in text
        assert "://" not in text
