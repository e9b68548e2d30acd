"""Fetching opens only what the lock names, runs nothing of it, and writes nowhere but where it should."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.recorded import fetch

PKG_INFO = b"Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n"
# Would fail if anything of it were run: no such backend, and a setup.py that raises.
PYPROJECT = b'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "probe"\nversion = "1.0"\n'
CASSETTE = b"interactions: []\n"


def source_distribution(folder: Path, names: dict[str, bytes]) -> Path:
    path = folder / "probe-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.timeout(600)  # the first run fetches the cassettes
def test_only_the_locked_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch.ensure()  # so that there is a pip
    archive = source_distribution(
        tmp_path,
        {
            "probe-1.0/PKG-INFO": PKG_INFO,
            "probe-1.0/pyproject.toml": PYPROJECT,
            "probe-1.0/setup.py": b"raise SystemExit('run')\n",
            "probe-1.0/tests/cassettes/one.yaml": CASSETTE,
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    lock = tmp_path / "lock.txt"
    lock.write_text(f"probe==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}\n")
    (fetched,) = fetch._download(lock, tmp_path / "right", "--require-hashes")
    assert fetched.read_bytes() == archive.read_bytes()

    lock.write_text(f"probe==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(fetch.CannotFetch, match="DO NOT MATCH THE HASHES"):
        fetch._download(lock, tmp_path / "wrong", "--require-hashes")


def test_only_cassettes_are_unpacked_and_only_here(tmp_path: Path) -> None:
    archive = source_distribution(
        tmp_path,
        {
            "probe-1.0/tests/cassettes/one.yaml": CASSETTE,
            "../../cassettes/two.yaml": CASSETTE,
            "/cassettes/three.yaml": CASSETTE,
            "probe-1.0/code.py": b"raise SystemExit\n",
            "probe-1.0/cassettes": b"a file of that name\n",
        },
    )
    folder = tmp_path / "inside"
    fetch._unpack(archive, folder)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        archive.name,
        "inside/probe-1.0/tests/cassettes/one.yaml",
        "inside/cassettes/two.yaml",
        "inside/cassettes/three.yaml",
    }
