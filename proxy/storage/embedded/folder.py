"""The data folder: who may use it, what lies where, and which paths the servers see.

<data>/lock                       held by us and by Valkey, which has no lock of its own
<data>/stores/                    ours: passfile and logs; as root nothing here can be replaced by the servers' account
<data>/stores/{pg,valkey,run}/    0700, the servers' account's: data, sockets
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.run_as import Account, account_for

SOCKET_PATH_MAX = 107 if sys.platform.startswith("linux") else 103
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"
LOG_MAX_BYTES = 8_000_000
ORPHANS_WAIT_S = 30.0
TEMPORARY_PREFIX = "synapscale-"
LEFTOVERS = "leftovers"


class DataFolder:
    """Opened once per `serve`; closing it gives the lock back."""

    def __init__(self, root: Path, *, give_up: Callable[[], bool] = lambda: False) -> None:
        self.root = root.absolute()
        self.stores = self.root / "stores"
        self.account: Account | None = None
        self.anchor_fd = -1
        self._temporary: list[Path] = []
        self._run: Path | None = None
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock_fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._not_ours(error) from error
        try:
            self._take_lock(give_up)
        except BaseException:
            os.close(self.lock_fd)
            raise

    def open_stores(self) -> None:
        """Only for embedded servers: choose their account, make their folder, remove what a killed start left."""
        try:
            self.account = account_for([self.stores / "pg", self.stores / "valkey", self.stores])
            self.stores.mkdir(mode=0o700, exist_ok=True)
            if self.account is not None and self.stores.stat().st_uid == os.geteuid():
                self.stores.chmod(0o711)  # entered by name, through the descriptor; <data> itself stays 0700
            self.anchor_fd = os.open(self.stores, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._not_ours(error) from error
        self._remove_leftovers()

    def close(self) -> None:
        for path in self._temporary:
            shutil.rmtree(path, ignore_errors=True)
        self._temporary.clear()
        (self.stores / LEFTOVERS).unlink(missing_ok=True)
        if self.anchor_fd >= 0:
            os.close(self.anchor_fd)
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
        self.anchor_fd = self.lock_fd = -1

    def make_temporary(self, parent: str) -> Path:
        """A 0700 folder elsewhere that goes with us; noted, so that after a kill the next start removes it."""
        path = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
        self._temporary.append(path)
        self.write_private(LEFTOVERS, "".join(f"{path}\n" for path in self._temporary), for_servers=False)
        return path

    @property
    def seen_by_servers(self) -> Path:
        """`stores` as the servers' account reaches it.

        Under another account through the inherited descriptor: no parent folder has to be opened for it, and none is.
        """
        if self.account is None:
            return self.stores
        if not sys.platform.startswith("linux"):
            raise StoreProblem("Embedded stores do not run as root here: start synapscale as an ordinary user.")
        return Path(f"/proc/self/fd/{self.anchor_fd}")

    def make(self, name: str) -> Path:
        """An existing folder `stores/<name>` of mode 0700 that belongs to the servers' account."""
        path = self.stores / name
        self._own(path)
        return path

    def run_folder(self) -> tuple[Path, Path]:
        """Where the sockets are: for us, and for the servers. A socket's path has a length limit in the kernel."""
        near = self.stores / "run"
        if len(os.fsencode(near)) + len(LONGEST_SOCKET_NAME) <= SOCKET_PATH_MAX:
            self._own(near)
            return near, self.seen_by_servers / "run"
        if self._run is None:
            own = os.environ.get("XDG_RUNTIME_DIR") if self.account is None else None
            for parent in (own, tempfile.gettempdir(), "/tmp"):
                if parent and os.path.isdir(parent) and len(os.fsencode(parent)) + 40 <= SOCKET_PATH_MAX:
                    self._run = self.make_temporary(parent)
                    break
            else:
                raise StoreProblem(f"{self.root} is too long a path for a socket: shorten it, or set TMPDIR.")
            self._own(self._run)
        return self._run, self._run

    def open_log(self, name: str) -> IO[bytes]:
        path = self.log_path(name)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_MAX_BYTES:
                path.replace(path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o600), "ab")

    def log_path(self, name: str) -> Path:
        return self.stores / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15) -> str:
        try:
            with self.log_path(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
        except OSError:
            return ""

    def write_private(self, name: str, text: str, *, for_servers: bool) -> Path:
        """A 0600 file in `stores`, whole or not at all."""
        path = self.stores / name
        fd, temporary = tempfile.mkstemp(dir=self.stores, prefix=f".{name}.")  # 0600
        with os.fdopen(fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if for_servers and self.account is not None:
            os.chown(temporary, self.account.uid, self.account.gid)
        os.replace(temporary, path)
        return path

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(OSError):
            for line in (self.stores / LEFTOVERS).read_text().splitlines():
                if Path(line).is_absolute() and Path(line).name.startswith(TEMPORARY_PREFIX):
                    shutil.rmtree(line, ignore_errors=True)

    def _own(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None and path.stat().st_uid != self.account.uid:
            os.chown(path, self.account.uid, self.account.gid)

    def _take_lock(self, give_up: Callable[[], bool]) -> None:
        """A lock whose taker is dead is held by its Valkey, which is on its way out: wait for that one."""
        deadline = time.monotonic() + ORPHANS_WAIT_S
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self.lock_fd, 20, 0).decode("ascii", "replace").strip()
                alive = holder.isdigit() and is_running(int(holder))
                if alive or time.monotonic() > deadline or give_up():
                    who = f" (process {holder})" if alive else ""
                    raise StoreProblem(
                        f"The data folder {self.root} is in use by another synapscale{who}.\n"
                        "Stop that one first, or start this one with another --data-dir (and --port)."
                    ) from None
                time.sleep(0.05)
            else:
                os.ftruncate(self.lock_fd, 0)
                os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)
                return

    def _not_ours(self, error: OSError) -> StoreProblem:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            who = f"uid {os.geteuid()}"
            return StoreProblem(
                f"No permission to use the data folder {self.root} as {who}: {error.strerror}.\n"
                "Start synapscale as the user that owns it, or choose another folder with --data-dir."
            )
        return StoreProblem(f"The data folder {self.root} cannot be used: {error.strerror or error}.")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
