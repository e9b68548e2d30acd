"""What the two servers have in common for whoever starts and watches them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from proxy.storage.embedded.problem import StoreProblem

POLL_S = 0.01


class Server(Protocol):
    """`prepare` once, then `start` as often as it dies. Nothing here waits except `prepare`."""

    name: str
    stop_signal: signal.Signals

    def prepare(self) -> None: ...
    def start(self) -> subprocess.Popen[bytes]: ...
    def ready(self) -> bool: ...
    def failure(self) -> str: ...


def wait_ready(
    server: Server, process: subprocess.Popen[bytes], *, within_s: float, give_up: Callable[[], bool] = lambda: False
) -> None:
    """Until it answers. Bounded, but generously: after a crash both read their logs back first."""
    deadline = time.monotonic() + within_s
    while not server.ready():
        if process.poll() is not None:
            raise StoreProblem(f"{server.name} ended at its start (status {process.returncode}).\n{server.failure()}")
        if give_up():
            raise StoreProblem(f"stopped while {server.name} was starting")
        if time.monotonic() > deadline:
            raise StoreProblem(f"{server.name} did not become ready within {within_s:.0f} s.\n{server.failure()}")
        time.sleep(POLL_S)


def stop(server: Server, process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """Ask, wait, and only then kill: both recover from that too."""
    if process.poll() is not None:
        return
    process.send_signal(server.stop_signal)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
