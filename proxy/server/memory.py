"""The gate on memory: refuse before the kernel kills. Linux tells both what is used and what is allowed; elsewhere there is
no gate without a limit that was set.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)
MIB = 1024 * 1024
# Of the container's limit: what a second may bring until the next look must fit above.
_SHARE_OF_CONTAINER = 0.85
# Opens again below this share of the limit, or it would flutter.
_OPEN_BELOW = 0.95
_NO_LIMIT = 1 << 60  # cgroup v1 writes a huge number


class Bound(NamedTuple):
    """`used`: bytes now."""

    limit: int
    used: Callable[[], int]
    whose: str


class MemoryGate:
    """`look` once a second; `is_closed` is its last word."""

    def __init__(self, bound: Bound | None) -> None:
        self._bound = bound
        self._trim = _trimmer()
        self.is_closed = False

    def look(self) -> bool:
        bound = self._bound
        if bound is None:
            return False
        used = bound.used()
        if self.is_closed and used >= bound.limit * _OPEN_BELOW:
            # What requests have freed stays with malloc unless it is told to: the gate would never open.
            self._trim()
            used = bound.used()
        was_closed = self.is_closed
        self.is_closed = used >= bound.limit * (_OPEN_BELOW if was_closed else 1)
        if self.is_closed != was_closed:
            log.warning(
                "%s: %s holds %d MiB of %d", "requests are refused" if self.is_closed else "requests are taken again",
                bound.whose, used // MIB, bound.limit // MIB,
            )  # fmt: skip
        return self.is_closed


def bound_of(max_memory_mib: int | None, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Bound | None:
    """Of this process where a limit is set; else of its container, if that has one."""
    if max_memory_mib is not None:
        statm = proc / "self/statm"
        return Bound(max_memory_mib * MIB, lambda: _resident(statm), "this process") if statm.exists() else None
    try:
        groups = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "" and (bound := _version_2(cgroups, path)) is not None:
            return bound
        if controllers == "memory" and (bound := _version_1(cgroups / "memory", path)) is not None:
            return bound
    return None


def _resident(statm: Path) -> int:
    """proc(5): the second field, in pages."""
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _version_2(root: Path, path: str) -> Bound | None:
    """The tightest limit on the way up (kernel documentation, cgroup-v2.rst): `max` is none. A container sees its own as root."""
    tightest: tuple[int, Path] | None = None
    group = root / path.lstrip("/")
    while True:
        limit = _number(group / "memory.max")
        if limit is not None and (tightest is None or limit < tightest[0]):
            tightest = limit, group
        if group == root or root not in group.parents:
            break
        group = group.parent
    return None if tightest is None else _container(tightest[0], tightest[1] / "memory.stat", ("anon", "shmem"))


def _version_1(root: Path, path: str) -> Bound | None:
    group = root / path.lstrip("/")
    stat = (group if group.is_dir() else root) / "memory.stat"
    limit = _fields(stat, ("hierarchical_memory_limit",))
    return _container(limit, stat, ("total_rss", "total_shmem")) if 0 < limit < _NO_LIMIT else None


def _container(limit: int, stat: Path, fields: tuple[str, ...]) -> Bound:
    """Without the page cache, which the kernel takes back before it kills."""
    return Bound(int(limit * _SHARE_OF_CONTAINER), lambda: _fields(stat, fields), "the container")


def _fields(stat: Path, names: tuple[str, ...]) -> int:
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines)
    return sum(int(values.get(name, 0)) for name in names)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _trimmer() -> Callable[[], object]:
    """glibc's `malloc_trim`; other C libraries give memory back by themselves."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    return lambda: trim(0)
