"""The gate on memory, over files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.server.memory import MIB, Bound, MemoryGate, bound_of

V2_STAT = "anon 300000\nfile 9000000\nshmem 50000\nslab 700\n"


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def found(root: Path) -> Bound | None:
    return bound_of(None, proc=root / "proc", cgroups=root / "cgroups")


def test_a_limit_that_was_set_is_of_this_process() -> None:
    bound = bound_of(100)
    assert bound is not None and bound.limit == 100 * MIB
    assert 10 * MIB < bound.used() < 100_000 * MIB


def test_a_container_of_version_2(tmp_path: Path) -> None:
    """The page cache does not count: the kernel takes it back."""
    root = written(tmp_path, {"proc/self/cgroup": "0::/\n", "cgroups/memory.max": "1000000\n", "cgroups/memory.stat": V2_STAT})
    bound = found(root)
    assert bound is not None and (bound.limit, bound.used()) == (850_000, 350_000)


def test_the_tightest_limit_on_the_way_up(tmp_path: Path) -> None:
    root = written(tmp_path, {
        "proc/self/cgroup": "0::/slice/unit\n",
        "cgroups/slice/unit/memory.max": "max\n", "cgroups/slice/unit/memory.stat": "anon 1\nshmem 1\n",
        "cgroups/slice/memory.max": "1000000\n", "cgroups/slice/memory.stat": V2_STAT,
        "cgroups/memory.max": "2000000\n", "cgroups/memory.stat": "anon 2\nshmem 2\n",
    })  # fmt: skip
    bound = found(root)
    assert bound is not None and (bound.limit, bound.used()) == (850_000, 350_000)


@pytest.mark.parametrize("group", ["docker/x", ""], ids=["as the host sees it", "as the container sees it"])
def test_a_container_of_version_1(tmp_path: Path, group: str) -> None:
    stat = "rss 1\nhierarchical_memory_limit 1000000\ntotal_cache 9000000\ntotal_rss 300000\ntotal_shmem 50000\n"
    path = f"cgroups/memory/{group}/memory.stat"
    root = written(tmp_path, {"proc/self/cgroup": "5:cpu:/\n4:memory:/docker/x\n", path: stat})
    bound = found(root)
    assert bound is not None and (bound.limit, bound.used()) == (850_000, 350_000)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/\n", "cgroups/memory.max": "max\n", "cgroups/memory.stat": V2_STAT},
        {"proc/self/cgroup": "4:memory:/\n", "cgroups/memory/memory.stat": "hierarchical_memory_limit 9223372036854771712\n"},
    ],
    ids=["no Linux", "version 2", "version 1"],
)
def test_without_a_limit_there_is_no_gate(tmp_path: Path, files: dict[str, str]) -> None:
    bound = found(written(tmp_path, files))
    assert bound is None
    assert not MemoryGate(bound).look()


def test_it_closes_at_the_limit_and_opens_well_below() -> None:
    used = [0]
    gate = MemoryGate(Bound(1000, lambda: used[0], "this process"))
    said = []
    for used[0] in (999, 1000, 999, 950, 949, 999, 1000):
        said.append(gate.look())
    assert said == [False, True, True, True, False, False, True]
