"""The embedded Valkey (or Redis): socket only, AOF on, never evicts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from urllib.parse import quote

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.locate import Program
from proxy.storage.embedded.run_as import spawn

SOCKET = "redis.sock"
PING_TIMEOUT_S = 1.0


class EmbeddedValkey:
    name = "Valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: DataFolder, program: Program, *, maxmemory_mb: int, durable: bool) -> None:
        self._folder = folder
        self._program = program
        self._maxmemory_mb = maxmemory_mb
        self._durable = durable
        self._run, self._run_seen = folder.run_folder()

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._run / SOCKET), safe='/')}"

    def prepare(self) -> None:
        self._folder.make("valkey")

    def start(self) -> subprocess.Popen[bytes]:
        # The socket file of a killed predecessor: nobody else can be listening on it while we hold the lock.
        (self._run / SOCKET).unlink(missing_ok=True)
        argv = [
            *(str(self._program.path), "--port", "0", "--dir", str(self._folder.seen_by_servers / "valkey")),
            *("--unixsocket", str(self._run_seen / SOCKET), "--unixsocketperm", "700"),
            *("--appendonly", "yes", "--appendfsync", "always" if self._durable else "no", "--save", ""),
            *("--maxmemory", f"{self._maxmemory_mb}mb", "--maxmemory-policy", "noeviction"),
            *("--enable-debug-command", "no", "--daemonize", "no"),
        ]
        with self._folder.open_log("valkey") as log:
            # It keeps the lock of the data folder, having none of its own: an orphan still writing keeps others out.
            return spawn(
                argv,
                account=self._folder.account,
                pass_fds=(self._folder.anchor_fd, self._folder.lock_fd),
                log=log,
                last_signal=self.stop_signal,
            )

    def ready(self) -> bool:
        """PONG; while it reads its AOF the answer is -LOADING."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PING_TIMEOUT_S)
            try:
                line.connect(os.fspath(self._run / SOCKET))
                line.sendall(b"PING\r\n")
                return line.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def failure(self) -> str:
        return f"The end of {self._folder.log_path('valkey')}:\n{self._folder.log_tail('valkey')}"
