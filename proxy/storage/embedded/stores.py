"""The pair as one thing: what a start needs to know and what has to be stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.locate import Locator, Program
from proxy.storage.embedded.postgres import EmbeddedPostgres
from proxy.storage.embedded.server import Server, stop, wait_ready
from proxy.storage.embedded.valkey import EmbeddedValkey

READY_WITHIN_S = 120.0
STOP_GRACE_S = 30.0


class Stores:
    """Where Postgres and Redis are; those whose address was not given are embedded and run by us."""

    def __init__(
        self,
        folder: DataFolder,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        max_connections: int = 50,
        maxmemory_mb: int = 256,
        durable: bool = True,
    ) -> None:
        self.folder = folder
        self.servers: list[Server] = []
        self.versions: list[str] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        if not database_url or not redis_url:
            folder.open_stores()
        locator = Locator(folder.account, folder.make_temporary)
        if not database_url:
            program = self._named("Postgres", locator.postgres())
            self.postgres = EmbeddedPostgres(folder, program, max_connections=max_connections, durable=durable)
            self.servers.append(self.postgres)
            database_url = self.postgres.dsn
        if not redis_url:
            program = self._named("Valkey", locator.valkey())
            self.valkey = EmbeddedValkey(folder, program, maxmemory_mb=maxmemory_mb, durable=durable)
            self.servers.append(self.valkey)
            redis_url = self.valkey.url
        self.database_url = database_url
        self.redis_url = redis_url

    def describe(self) -> str:
        """`embedded Postgres 18.6 and Valkey 9.1.2`; empty if both are somebody else's."""
        return "embedded " + " and ".join(self.versions) if self.versions else ""

    def start(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Prepare and start both, then wait for both. On a failure nothing stays running."""
        try:
            for server in self.servers:
                server.prepare()
                self.processes[server.name] = server.start()
            for server in self.servers:
                wait_ready(server, self.processes[server.name], within_s=READY_WITHIN_S, give_up=give_up)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """Stop what runs and give the data folder back. Safe to call twice."""
        for server in self.servers:
            if process := self.processes.pop(server.name, None):
                stop(server, process, grace_s=grace_s)
        self.folder.close()

    def _named(self, what: str, program: Program) -> Program:
        self.versions.append(f"{what} {program.version}")
        return program
