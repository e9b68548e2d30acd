"""What stands between stores that are up and gateways that may start: schema, partitions, catalog, first start."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from proxy.api.first_start import first_start
from proxy.audit.write import ManagementWriter
from proxy.catalog import store as catalog
from proxy.identity.first_start import FirstStart
from proxy.identity.hashing import KeyHasher
from proxy.ledger.partitions import store as partitions
from proxy.settings.key_files import ADMIN_KEY, FIRST_KEY, write_secret
from proxy.settings.plan import catalog_plan
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings
from proxy.storage.migrate import migrate
from proxy.storage.postgres import connect, open_pool
from proxy.telemetry.clock import Clock
from proxy.vault.keyring import Keyring, claim
from proxy.vault.master import MasterKey, MasterKeyError

DAYS_AHEAD = 7


class Prepared(NamedTuple):
    migrations: list[str]  # applied now
    catalog_changed: bool
    first: FirstStart


async def prepare(
    settings: Settings, dsn: str, master: MasterKey, *, progress: Callable[[str], None] = lambda text: None,
) -> Prepared:
    """Safe to repeat, and from several places at once. Raises ConfigError where the admin key cannot be one, or the
    master key is not this database's."""
    applied = await migrate(dsn)
    if applied:
        progress(f"schema: applied {', '.join(applied)}")
    conn = await connect(dsn, application_name="synapscale prepare")
    try:
        keyring = await claim(conn, master)
        today = datetime.now(UTC).date()
        await partitions.ensure(conn, [today + timedelta(days=ahead) for ahead in range(-1, DAYS_AHEAD + 1)])
        changed = await catalog.sync(conn, catalog_plan(settings))
    except MasterKeyError as wrong:
        raise ConfigError([f"{wrong}."]) from None
    finally:
        await conn.close(timeout=5)
    if changed:
        progress("catalog: taken from the configuration and the price book")
    return Prepared(applied, changed, await _first_start(settings, dsn, keyring))


async def _first_start(settings: Settings, dsn: str, keyring: Keyring) -> FirstStart:
    """Keys are in their files before the commit: a process that dies here has lost no key."""

    def keep(made: FirstStart) -> None:
        for name, secret in ((ADMIN_KEY, made.management_key), (FIRST_KEY, made.virtual_key)):
            if secret is not None:
                _replace_secret(settings, name, secret)

    clock = Clock()
    pool = await open_pool(dsn, max_size=1, application_name="synapscale prepare")
    try:
        return await first_start(
            ManagementWriter(pool, keyring.vault, _publish_nothing, clock), KeyHasher(keyring.hash_key), clock,
            shards=settings.stores.shards,
            admin_key=settings.admin_key.get_secret_value() if settings.admin_key else None, before_commit=keep,
        )
    except ValueError as error:
        raise ConfigError([f"{error}."]) from None
    finally:
        await pool.close()


async def _publish_nothing(raised: Mapping[UUID, int]) -> None:
    """A workspace that is new has no cache to make stale, and the worker's reconciler raises the epoch anyway."""


def _replace_secret(settings: Settings, name: str, secret: str) -> None:
    """An older file is of another database, or of a start that never committed: it is set aside, not lost."""
    path = settings.stores.data_dir / name
    if path.exists():
        os.replace(path, path.with_name(f"{name}.old"))
    write_secret(path, secret)
