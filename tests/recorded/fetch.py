"""The cassettes of open-source test suites, out of their source distributions, into .recorded/ (once per lock).

pip fetches from whatever index it is configured for and checks every file against locks/cassettes.txt before it opens it.
`make recorded ARGS=--lock` renews the lock from cassettes.in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORDED = ROOT / ".recorded"
LOCK = HERE / "locks" / "cassettes.txt"
_PIP_LOCK = HERE / "locks" / "pip.txt"
_MARK = ".made-from"
# Of the source distributions in the lock; another one stops the fetching with its name.
_BACKENDS = ("hatchling/build.py",)


class CannotFetch(Exception):
    """Says what pip said."""


def ensure() -> Path:
    """The folder with the cassettes of each source distribution, fetched if the lock is another one than last time."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    folder = RECORDED / "cassettes"
    mark = folder / _MARK
    if mark.exists() and mark.read_text() == digest:
        return folder
    RECORDED.mkdir(exist_ok=True)
    with (RECORDED / ".lock").open("w") as alone, tempfile.TemporaryDirectory(dir=RECORDED) as temporary:
        fcntl.flock(alone, fcntl.LOCK_EX)  # another run of the tests may be fetching
        if mark.exists() and mark.read_text() == digest:
            return folder
        fresh = Path(temporary) / "cassettes"
        fresh.mkdir()
        for archive in _download(LOCK, Path(temporary), "--require-hashes"):
            _unpack(archive, fresh)
        (fresh / _MARK).write_text(digest)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def renew_lock() -> None:
    wanted = HERE / "locks" / "cassettes.in"
    RECORDED.mkdir(exist_ok=True)
    lines = ["# Source distributions only. Written by `make recorded ARGS=--lock`."]
    with tempfile.TemporaryDirectory(dir=RECORDED) as temporary:
        found = {archive.name: archive for archive in _download(wanted, Path(temporary))}
        for pin in wanted.read_text().splitlines():
            if "==" in pin:
                archive = found[f"{pin.replace('-', '_').replace('==', '-')}.tar.gz"]
                lines.append(f"{pin} \\\n    --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
    LOCK.write_text("\n".join(lines) + "\n")


def _download(requirements: Path, temporary: Path, *options: str) -> list[Path]:
    """The source distributions themselves: pip looks into one for its name and version, and finds `metadata_only`."""
    backends, target = temporary / "backends", temporary / "archives"
    for name in _BACKENDS:
        (backends / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "metadata_only.py", backends / name)
    pip = RECORDED / "pip"
    _run([sys.executable, str(ROOT / "deploy" / "venv.py"), str(pip), str(_PIP_LOCK)])
    _run(
        [str(pip / "bin" / "python"), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         "--no-build-isolation", "--dest", str(target), *options, "-r", str(requirements)],
        {"PYTHONPATH": str(backends), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
    )  # fmt: skip
    return sorted(target.iterdir())


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, check=False)
    if done.returncode != 0:
        raise CannotFetch(
            f"{done.stdout[-4000:]}\nThe recordings could not be fetched: is the package index reachable? PIP_INDEX_URL names "
            "another. Then `make recorded`."
        )


def _unpack(archive: Path, folder: Path) -> None:
    """The cassettes only. Their paths are made here: an archive could name any."""
    with tarfile.open(archive) as packed:
        for member in packed:
            parts = [part for part in PurePosixPath(member.name).parts if part not in ("/", "..")]
            if not (member.isfile() and "cassettes" in parts[:-1] and (data := packed.extractfile(member))):
                continue
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.read())
