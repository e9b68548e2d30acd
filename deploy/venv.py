"""Make a virtual environment from a lock file, and install the project into it. Standard library only.

python3 deploy/venv.py VENV LOCK [--alone LOCK] [--editable DIR | --project DIR]

Works where the distribution's Python came without ensurepip (Debian without python3-venv, if its pip or uv is there),
without a home, and writes nowhere but into VENV (and DIR, for an editable installation).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LOWEST = (3, 11)
TAIL_LINES = 25


class Failed(Exception):
    """The message says what is wrong and what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--alone", type=Path, help="lock of packages that come without their dependencies")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--editable", type=Path)
    where.add_argument("--project", type=Path)
    options = parser.parse_args()
    try:
        if sys.version_info < LOWEST:
            raise Failed(f"{sys.executable} is Python {version()}: 3.11 or newer is needed. Name one with PYTHON=…")
        tool = prepare(options.venv)
        say(f"Installing {options.lock} into {options.venv} with Python {version()} (a minute the first time)")
        install(tool, options.venv, ["--require-hashes", "-r", str(options.lock)], total=count(options.lock))
        if options.alone:
            install(tool, options.venv, ["--require-hashes", "--no-deps", "-r", str(options.alone)])
        # The build tools are in the lock, so the project is built with what was checked and fetches nothing.
        build = ["--no-deps", "--no-build-isolation"]
        if options.editable:
            install(tool, options.venv, [*build, "-e", str(options.editable)])
        elif options.project:
            install(tool, options.venv, [*build, str(options.project)])
    except Failed as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("\nStopped before everything was installed. The same command again goes on.")
        return 130
    finally:
        shutil.rmtree(options.venv / "tmp", ignore_errors=True)
    say(f"Installed into {options.venv}")
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def prepare(venv: Path) -> list[str]:
    """A working environment of this Python, and the command that installs into it."""
    python = venv / "bin/python"
    if not is_of_this_python(python):
        if venv.exists():
            shutil.rmtree(venv)
        try:
            venv.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failed(f"{venv.parent} cannot be written: {error.strerror}.") from error
        create(venv)
    (venv / "tmp").mkdir(exist_ok=True)
    if runs(python, "-m", "pip", "--version"):
        return [str(python), "-m", "pip", "install"]
    # Without ensurepip: pip of the distribution, or uv, can install into another environment.
    if runs(Path(sys.executable), "-m", "pip", "--python", str(python), "--version"):
        return [sys.executable, "-m", "pip", "--python", str(python), "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", str(python)]
    raise Failed(
        f"{sys.executable} comes without pip (module ensurepip), so nothing can be installed with it.\n"
        f"On Debian or Ubuntu: apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv (or python3-pip).\n"
        "Or name another Python: make run PYTHON=/path/to/python3.13"
    )


def is_of_this_python(python: Path) -> bool:
    """False also for one whose base Python is gone, and for one that was moved: its scripts name the old place."""
    venv = python.parents[1].absolute()
    try:
        made = (venv / "pyvenv.cfg").read_text()
        done = subprocess.run([str(python), "-c", "import sys; print(sys.version)"], capture_output=True, check=False)
    except OSError:
        return False
    here = "command = " not in made or any(line.endswith(f" {venv}") for line in made.splitlines())
    return here and done.stdout.decode().strip() == sys.version


def create(venv: Path) -> None:
    if importlib.util.find_spec("venv") is None:
        raise Failed(f"{sys.executable} lacks the module venv. On Debian or Ubuntu: apt install python3-venv")
    has_pip = importlib.util.find_spec("ensurepip") is not None
    command = [sys.executable, "-m", "venv", *([] if has_pip else ["--without-pip"]), str(venv.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{venv} could not be made:\n{(done.stdout + done.stderr).strip()}")


def runs(program: Path, *arguments: str) -> bool:
    try:
        done = subprocess.run([str(program), *arguments], capture_output=True, env=environment(), check=False)
    except OSError:
        return False
    return done.returncode == 0


def environment(temporary: Path | None = None) -> dict[str, str]:
    ours = dict(os.environ)
    ours.pop("PYTHONPATH", None)
    home = Path(ours.get("HOME", ""))
    if not os.access(home, os.W_OK | os.X_OK):
        # pip and uv would warn at every step, or fail.
        ours |= {"PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}
    if temporary is not None:
        ours["TMPDIR"] = str(temporary.absolute())
    return ours | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def count(lock: Path) -> int:
    return sum(1 for line in lock.read_text().splitlines() if re.match(r"[A-Za-z0-9._-]+==", line))


def install(tool: list[str], venv: Path, what: list[str], *, total: int = 0) -> None:
    """Run it, showing how far it is; on a failure, the end of what it said."""
    command = [*tool, *(["--progress-bar", "off"] if tool[-1] == "install" else []), *what]
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(venv / "tmp")
    ) as process:
        assert process.stdout is not None
        show(said, process.stdout, total)
    if process.returncode != 0:
        tail = "\n".join(said[-TAIL_LINES:])
        raise Failed(f"{tail}\n\nThe installation failed: {advice(tail)}")


def show(said: list[str], lines: Iterable[str], total: int) -> None:
    """One line that changes on a terminal; elsewhere one for every ten packages."""
    terminal, seen = sys.stdout.isatty(), 0
    for line in lines:
        said.append(line.rstrip())
        if found := re.match(r"Collecting ([A-Za-z0-9._-]+)", line):
            seen += 1
            if terminal:
                sys.stdout.write(f"\r\033[K  {seen} of at most {total}: {found[1]}")
                sys.stdout.flush()
            elif seen % 10 == 0:
                say(f"  {seen} of at most {total}")
        elif line.startswith("Installing collected"):
            say("\r\033[K  unpacking" if terminal else "  unpacking")


def advice(tail: str) -> str:
    if "No space left" in tail:
        return "the disk is full."
    if "Permission denied" in tail or "Read-only file system" in tail:
        return "this folder cannot be written; use a checkout that belongs to you."
    if "HASHES DO NOT MATCH" in tail:
        return "what the package index serves is not what was locked. Do not go on; ask who runs the index."
    if "No matching distribution" in tail or "Failed building" in tail or "error: subprocess" in tail:
        return (
            f"a package has no build for Python {version()} on this system, or the package index lacks it.\n"
            "Try another Python (PYTHON=python3.13), or another index (PIP_INDEX_URL)."
        )
    return "is the package index reachable? PIP_INDEX_URL names another, PIP_CERT its certificate. Then try again."


if __name__ == "__main__":
    sys.exit(main())
