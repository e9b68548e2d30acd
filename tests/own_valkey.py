"""A Valkey of the test's own, durable: to be killed, stopped and started again."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.server import wait_ready
from proxy.storage.embedded.stores import Stores


class OwnValkey:
    def __init__(self, folder: Path) -> None:
        self._stores = Stores(DataFolder(folder), database_url="postgresql://nobody.invalid/", durable=True)
        self._stores.start()
        self.url = self._stores.redis_url

    def kill(self) -> None:
        """SIGKILL, and gone."""
        process = self._stores.processes["Valkey"]
        process.kill()
        process.wait()

    def restart(self) -> None:
        server = self._stores.servers[0]
        process = self._stores.processes[server.name] = server.start()
        wait_ready(server, process, within_s=30)

    def freeze(self) -> None:
        self._stores.processes["Valkey"].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._stores.processes["Valkey"].send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        self._stores.stop()


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    folder = Path(tempfile.mkdtemp(prefix="synapscale-valkey-"))
    try:
        valkey = OwnValkey(folder)
        try:
            yield valkey
        finally:
            valkey.close()
    finally:
        shutil.rmtree(folder)
