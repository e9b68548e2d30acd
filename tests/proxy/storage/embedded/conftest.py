"""Durable pairs of a test's own, in a folder of its own, to be killed and broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.stores import Stores


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stores]]:
    started: list[Stores] = []

    def start_pair(root: Path = tmp_path / "data") -> Stores:
        started.append(Stores(DataFolder(root)))
        started[-1].start()
        return started[-1]

    yield start_pair
    for pair in started:
        pair.stop()
