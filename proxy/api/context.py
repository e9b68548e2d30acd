"""What the handlers of the management API need, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from aiohttp import web

from proxy.audit.write import ManagementWriter
from proxy.identity.hashing import KeyHasher
from proxy.identity.resolve import Resolver
from proxy.storage.postgres import Pool
from proxy.vault.seal import Vault
from proxy.wire.ids import uuid7


class Clock(Protocol):
    def now_ms(self) -> int: ...
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class ApiContext:
    """`shards`: among how many new workspaces are spread. `global_keys`: providers that have a key of the platform.
    `keyless`: those that take calls without one."""

    pool: Pool
    writer: ManagementWriter
    vault: Vault
    hasher: KeyHasher
    resolver: Resolver
    clock: Clock
    shards: int = 1
    global_keys: frozenset[str] = frozenset()
    keyless: frozenset[str] = frozenset()
    body_timeout_s: float = 30.0

    def new_id(self) -> UUID:
        return uuid7(self.clock.now_ms())


API_CONTEXT = web.AppKey("API_CONTEXT", ApiContext)
