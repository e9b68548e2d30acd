"""The embedded Postgres: initialised atomically, socket only, scram, stopped by a fast shutdown."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from proxy.storage.embedded.folder import DataFolder, is_running
from proxy.storage.embedded.locate import Program
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.run_as import run, spawn

NAME = "synapscale"  # of the role and of the database
INIT_TIMEOUT_S = 120.0
OLD_SERVER_WAIT_S = 30.0
PASSFILE = "passfile"


class EmbeddedPostgres:
    name = "Postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    def __init__(self, folder: DataFolder, program: Program, *, max_connections: int, durable: bool) -> None:
        self._folder = folder
        self._program = program
        self._max_connections = max_connections
        self._durable = durable
        self._data = folder.stores / "pg"
        self._run, self._run_seen = folder.run_folder()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """No password in it, so it may stand in an environment: the file it names is readable by its owner only."""
        return self.dsn_of(NAME)

    def dsn_of(self, database: str) -> str:
        passfile = self._folder.stores / PASSFILE
        return (
            f"postgresql://{NAME}@/{quote(database, safe='')}"
            f"?host={quote(str(self._run), safe='/')}&passfile={quote(str(passfile), safe='/')}"
        )

    def prepare(self) -> None:
        """A data directory of this version, made now if there is none."""
        if (self._data / "PG_VERSION").exists():
            self._check_version()
            if not (self._folder.stores / PASSFILE).exists():
                raise StoreProblem(
                    f"{self._folder.stores / PASSFILE} is missing: it holds the password of the database beside it.\n"
                    "Restore the folder `stores` as a whole from your backup."
                )
            return
        if self._data.exists() and any(self._data.iterdir()):
            raise StoreProblem(f"{self._data} is neither empty nor a Postgres data directory: move it away.")
        self._initialise()

    def start(self) -> subprocess.Popen[bytes]:
        self._wait_for_old_server()
        argv = [str(self._program.path), "-D", str(self._folder.seen_by_servers / "pg"), "-k", str(self._run_seen)]
        for setting, value in self._settings().items():
            argv += ["-c", f"{setting}={value}"]
        with self._folder.open_log("postgres") as log:
            self._process = spawn(
                argv,
                account=self._folder.account,
                pass_fds=(self._folder.anchor_fd,),
                log=log,
                last_signal=self.stop_signal,
            )
        return self._process

    def ready(self) -> bool:
        """Line 8 of postmaster.pid says so; the file of a killed predecessor carries another pid."""
        lines = self._pid_file()
        return self._process is not None and lines[:1] == [str(self._process.pid)] and lines[7:8] == ["ready"]

    def failure(self) -> str:
        return f"The end of {self._folder.log_path('postgres')}:\n{self._folder.log_tail('postgres')}"

    def _settings(self) -> dict[str, str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "jit": "off",
        }
        if any((self._program.path.parents[1] / "lib").rglob("pg_stat_statements.so")):
            settings["shared_preload_libraries"] = "pg_stat_statements"
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        return settings

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        if version == str(self._program.major):
            return
        raise StoreProblem(
            f"The data in {self._data} was written by Postgres {version}; this is Postgres {self._program.version}, "
            "which cannot read it.\n"
            "With the synapscale version you had before: `synapscale backup FILE --with-keys` (it uses pg_dump of Postgres "
            f"{version}). Then move the data folder away and, with this version: `synapscale restore FILE`.\n"
            "Or choose another folder with --data-dir, or set DATABASE_URL."
        )

    def _initialise(self) -> None:
        """Everything happens in pg.init, which becomes pg by one rename: a kill in between leaves nothing half made."""
        fresh = self._folder.stores / "pg.init"
        if fresh.exists():
            shutil.rmtree(fresh)
        self._folder.make("pg.init")
        password = secrets.token_urlsafe(32)
        # A file and not a pipe: /dev/fd/N cannot be opened again after the change of user.
        pwfile = self._folder.write_private("pwfile", password + "\n", for_servers=True)
        seen = self._folder.seen_by_servers
        if self._program.major >= 17:
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            locale = ["--locale=C.UTF-8"]
        try:
            self._run_or_fail(
                [
                    *(str(self._program.path.with_name("initdb")), "-D", str(seen / "pg.init"), "-U", NAME),
                    *("-E", "UTF8", *locale, "--data-checksums", "-A", "scram-sha-256", f"--pwfile={seen / 'pwfile'}"),
                    *("--no-instructions", *([] if self._durable else ["--no-sync"])),
                ]
            )
        finally:
            pwfile.unlink()
        self._run_or_fail(
            [str(self._program.path), "--single", "-D", str(seen / "pg.init"), "postgres"],
            feed=f"CREATE DATABASE {NAME}\n",
        )
        self._folder.write_private(PASSFILE, f"*:*:*:{NAME}:{password}\n", for_servers=False)
        os.rename(fresh, self._data)
        os.fsync(self._folder.anchor_fd)

    def _run_or_fail(self, argv: list[str], feed: str = "") -> None:
        try:
            done = run(
                argv,
                account=self._folder.account,
                pass_fds=(self._folder.anchor_fd,),
                feed=feed,
                timeout_s=INIT_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreProblem(f"{Path(argv[0]).name} could not be run: {error}") from error
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise StoreProblem(f"Postgres could not create its data in {self._data}:\n{done.stderr.strip()}")

    def _wait_for_old_server(self) -> None:
        """A server whose supervisor was killed is shutting down. Not for ever: the number may be another program's by
        now, and Postgres itself knows better than we do whether the directory is free."""
        deadline = time.monotonic() + OLD_SERVER_WAIT_S
        while (pid := next(iter(self._pid_file()), "")).isdigit() and time.monotonic() < deadline:
            if not is_running(int(pid)) or not _is_postgres(int(pid)):
                return
            time.sleep(0.02)

    def _pid_file(self) -> list[str]:
        with contextlib.suppress(OSError):
            return [line.strip() for line in (self._data / "postmaster.pid").read_text().splitlines()]
        return []


def _is_postgres(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        # Empty: it has ended and waits to be collected. To Postgres that looks like a living one.
        return not command or b"postgres" in command.split(b"\0")[0]
    except OSError:
        return True  # no /proc here
