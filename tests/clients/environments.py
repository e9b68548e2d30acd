"""The environments of `make clients`: a folder each under .clients/, from locks with hashes, made anew when their lock changes.

Node comes from a wheel; its packages are those of node/package-lock.json, checked against its hashes.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.clients.matrix import ENVIRONMENTS, HERE, NODE, ROOT

LOCKS = HERE / "locks"
PROGRAMS = HERE / "programs"
NODE_FILES = ("package.json", "package-lock.json")


def ensure(names: Iterable[str]) -> None:
    """Exits with what pip or npm said where one cannot be made."""
    for name in sorted(set(names)):
        lock = LOCKS / f"{name}.txt"
        wanted = lock.read_bytes() + b"".join(
            (HERE / "node" / file).read_bytes() for file in NODE_FILES if name == NODE
        )
        digest = hashlib.sha256(wanted + sys.version.encode()).hexdigest()
        mark = ENVIRONMENTS / name / ".made-from"
        if mark.exists() and mark.read_text() == digest:
            continue
        folder = ENVIRONMENTS / name
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, str(ROOT / "deploy" / "venv.py"), str(folder), str(lock)], f"the environment {name}")
        if name == NODE:
            _npm(folder)
        mark.write_text(digest)


def _npm(folder: Path) -> None:
    app = folder / "app"
    app.mkdir()
    for file in NODE_FILES:
        shutil.copy(HERE / "node" / file, app / file)
    # Not `npm ci`: it demands entries for the mock's other platforms, which the lock has only where they can be fetched.
    command = [
        str(folder / "bin" / "npm"),
        "install",
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(app),
    ]
    _run(command, "the packages for Node", path=str(folder / "bin"))


def place_programs() -> None:
    """Node finds packages beside a program only: its programs are copied to where they are installed."""
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, ENVIRONMENTS / NODE / "app" / program.name)


def tiktoken_cache() -> Path:
    """A cache for clients' tiktoken, filled from the gateway's own ranks: it would fetch them otherwise."""
    folder = ENVIRONMENTS / "tiktoken"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("cl100k_base", "o200k_base"):
        # tiktoken names a cached file by the address that it comes from (tiktoken/load.py)
        address = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        target = folder / hashlib.sha1(address.encode()).hexdigest()
        if not target.exists():
            packed = (ROOT / "proxy" / "metering" / "data" / f"{name}.tiktoken.xz").read_bytes()
            target.write_bytes(lzma.decompress(packed))
    return folder


def lock_node() -> None:
    """node/package-lock.json anew from package.json, with the newest of what that leaves open, and without addresses."""
    ensure([NODE])
    lock = HERE / "node" / "package-lock.json"
    lock.unlink()
    bin = ENVIRONMENTS / NODE / "bin"
    # npm's own setting for this (omit-lockfile-registry-resolved) is not everybody's: taken out here
    _run(
        [str(bin / "npm"), "install", "--package-lock-only", "--prefix", str(lock.parent)],
        "the lock for Node",
        path=str(bin),
    )
    text = re.sub(r'\n *"resolved": "[^"]*",?', "", lock.read_text())
    lock.write_text(text)


def _run(command: list[str], what: str, *, path: str = "") -> None:
    env = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ.get('PATH', '')}"} if path else None
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-4000:]}\n{what} could not be made")


def versions(name: str) -> dict[str, str]:
    """What the lock of an environment pins."""
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    pins = (line.split(" ")[0].partition("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
    return {package: version for package, _, version in pins}


if __name__ == "__main__":
    lock_node()
