"""From stores that are up to a deployment that may serve; repeated, interrupted, with a key of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.cli import prepare as module
from proxy.cli.prepare import Prepared, prepare
from proxy.identity.hashing import KeyHasher
from proxy.settings.load import load
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings
from proxy.storage.migrate import shipped
from proxy.storage.postgres import Pool
from proxy.vault.master import MasterKey

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(REPOSITORY / "config.yaml", {("stores", "data_dir"): tmp_path / "data"})


async def test_from_nothing(empty_database_url: str, settings: Settings, master: MasterKey) -> None:
    said: list[str] = []
    done = await prepare(settings, empty_database_url, master, progress=said.append)
    assert done.migrations == [migration.name for migration in shipped()] and done.catalog_changed and done.first.changed
    assert len(said) == 2
    files = {path.name: path.stat().st_mode & 0o777 for path in settings.stores.data_dir.iterdir()}
    assert files == {"admin-key": 0o600, "first-key": 0o600}
    again = await prepare(settings, empty_database_url, master)
    assert (again.migrations, again.catalog_changed, again.first.changed) == ([], False, False)


async def test_everything_is_there(
    started: Prepared, pool: Pool, settings: Settings, database_url: str, master: MasterKey
) -> None:
    await prepare(settings, database_url, master)
    assert await pool.fetchval("SELECT count(*) FROM llms WHERE managed_by = 'config' AND status = 'active'") == 16
    assert await pool.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_events'::regclass") >= 8
    entries = await pool.fetch("SELECT actor_kind, verb, resource FROM audit_log")
    assert [tuple(entry) for entry in entries] == [("system", "create", "deployment")]


async def test_keys_in_the_files_are_the_ones_in_the_tables(
    started: Prepared, pool: Pool, master: MasterKey, tmp_path: Path
) -> None:
    hasher, folder = KeyHasher(master.hash_key), tmp_path / ".synapscale"
    for name, table in (("admin-key", "management_keys"), ("first-key", "virtual_keys")):
        hash = hasher.digest((folder / name).read_text().strip())
        assert await pool.fetchval(f"SELECT count(*) FROM {table} WHERE hash = $1", hash) == 1


async def test_death_before_the_commit_leaves_no_row(
    database_url: str, pool: Pool, settings: Settings, master: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise ConfigError(["no space left"])

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_secret", die)
        with pytest.raises(ConfigError, match="no space"):
            await prepare(settings, database_url, master)
    assert await pool.fetchval("SELECT count(*) FROM workspaces") == 0
    assert (await prepare(settings, database_url, master)).first.virtual_key


async def test_key_files_of_another_database_are_set_aside(
    database_url: str, settings: Settings, master: MasterKey
) -> None:
    folder = settings.stores.data_dir
    folder.mkdir()
    (folder / "admin-key").write_text("sk-adm-older")
    done = await prepare(settings, database_url, master)
    assert (folder / "admin-key").read_text().strip() == done.first.management_key
    assert (folder / "admin-key.old").read_text() == "sk-adm-older"


async def test_given_admin_key(database_url: str, pool: Pool, settings: Settings, master: MasterKey) -> None:
    given = settings.model_copy(update={"admin_key": SecretStr("my-own-admin-key-0123456")})
    done = await prepare(given, database_url, master)
    assert done.first.management_key is None and not (settings.stores.data_dir / "admin-key").exists()
    hash = KeyHasher(master.hash_key).digest("my-own-admin-key-0123456")
    assert await pool.fetchval("SELECT role FROM management_keys WHERE hash = $1", hash) == "admin"


async def test_admin_key_that_is_a_virtual_one(database_url: str, settings: Settings, master: MasterKey) -> None:
    given = settings.model_copy(update={"admin_key": SecretStr("sk-syn-canary")})
    with pytest.raises(ConfigError) as caught:
        await prepare(given, database_url, master)
    assert "SYNAPSCALE_ADMIN_KEY" in str(caught.value) and "canary" not in str(caught.value)

