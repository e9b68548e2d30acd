"""Gateways and the worker as processes: clean environment, own session, gone when the parent is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping

from proxy.storage.embedded.leash import leash
from proxy.supervisor.ready import ReadyPipe


class Program:
    """A `Kind` of child that says itself when it is up."""

    stop_signal = signal.SIGTERM
    # Not a second SIGTERM: systemd sends one to all processes of a unit, so that two may come of one wish to stop.
    hurry_signal = signal.SIGINT

    def __init__(
        self, name: str, argv: tuple[str, ...], *, environment: Mapping[str, str], fds: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self._argv = argv
        self._environment = dict(environment)
        self._fds = fds
        self._pipe: ReadyPipe | None = None

    def start(self) -> subprocess.Popen[bytes]:
        if self._pipe is not None:
            self._pipe.close()
        pipe = self._pipe = ReadyPipe()
        try:
            return subprocess.Popen(
                [*self._argv, "--ready-fd", str(pipe.child_end)],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=(*self._fds, pipe.child_end),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which stops the others in order
                preexec_fn=leash(self.stop_signal),  # safe: the parent has one thread
            )
        finally:
            pipe.started()

    def ready(self) -> bool:
        return self._pipe is not None and self._pipe.look()

    def beat(self) -> bool:
        return self._pipe is not None and self._pipe.beat()
