"""CPU time of processes without the 10 ms ticks of /proc/PID/stat."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def cpu_s(pid: int) -> float:
    """User plus system time of a process, by its CPU clock (the id that clock_getcpuclockid(3) computes)."""
    return time.clock_gettime(((-pid - 1) << 3) | 2)


def family(root: int) -> dict[int, str]:
    """All descendants of a process: pid → command line."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown}
        for pid in grown:
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


class Group:
    """CPU of named groups of processes, between `start` and `stop`."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self.groups = groups
        self.before: dict[str, float] = {}

    def _now(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for name, pids in self.groups.items():
            total = 0.0
            for pid in pids:
                with contextlib.suppress(OSError):
                    total += cpu_s(pid)
            sums[name] = total
        return sums

    def start(self) -> None:
        self.before = self._now()

    def stop(self) -> dict[str, float]:
        return {name: value - self.before[name] for name, value in self._now().items()}
