"""`synapscale master-key` as an operator uses it, on a database of one's own and on an embedded one that does not run."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli import master_key as module
from proxy.cli.main import run
from proxy.cli.prepare import prepare
from proxy.settings.key_files import MASTER_KEY
from proxy.settings.load import load
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import Pool
from proxy.vault.keyring import Keyring
from proxy.vault.master import MasterKey
from tests.proxy.cli.conftest import Cli

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


def text(master: bytes) -> str:
    return base64.b64encode(master).decode()


@pytest.fixture
def with_keys(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "new").write_text(text(NEW) + "\n")
    monkeypatch.setenv("DATABASE_URL", database_url)

    def use(master: bytes) -> None:
        monkeypatch.setenv("SYNAPSCALE_MASTER_KEY", text(master))

    use(OLD)
    return use


async def test_rotate_and_retire(cli: Cli, with_keys: Callable[[bytes], None], pool: Pool) -> None:
    assert (await cli("migrate")).code == 0
    hashes = await pool.fetch("SELECT hash FROM virtual_keys UNION SELECT hash FROM management_keys")
    assert (await cli("master-key", "rotate")).code == 2  # external: a key made here would be nowhere else
    for _ in range(2):
        done = await cli("master-key", "rotate", "--new-key-file", "new")
        assert done.code == 0, done.err
        assert text(NEW) not in done.err + done.out
    assert (await cli("migrate")).code == 0  # the old one is still accepted
    with_keys(NEW)
    done = await cli("migrate")
    assert done.code == 0 and "First start" not in done.err
    assert {row["state"] for row in (await cli("master-key", "status", "--json")).json} == {"current", "previous"}
    assert (await cli("master-key", "retire")).code == 0
    [row] = (await cli("master-key", "status", "--json")).json
    assert (row["id"], row["state"]) == (MasterKey(NEW).key_id.hex(), "current")
    with_keys(OLD)
    refused = await cli("migrate")
    assert refused.code == 2 and "not the one of this database" in refused.err and "Traceback" not in refused.err
    assert await pool.fetch("SELECT hash FROM virtual_keys UNION SELECT hash FROM management_keys") == hashes
    said = await pool.fetch("SELECT verb, detail FROM audit_log WHERE resource = 'master_key' ORDER BY id")
    assert [row["verb"] for row in said] == ["rotate", "rotate", "retire"]
    assert json.loads(said[0]["detail"]) == {
        "old": MasterKey(OLD).key_id.hex(), "new": MasterKey(NEW).key_id.hex(), "variables": 0,
    }


async def test_reset(cli: Cli, with_keys: Callable[[bytes], None]) -> None:
    await cli("migrate")
    assert "nothing is lost" in (await cli("master-key", "reset", "--yes")).err
    with_keys(NEW)
    assert (await cli("master-key", "reset")).code == 2  # there is nobody to say yes
    assert (await cli("migrate")).code == 2
    assert (await cli("master-key", "reset", "--yes")).code == 0
    assert (await cli("migrate")).code == 0


def embedded(folder: Path) -> bytes:
    """A data folder after its first start, with nothing running. The master key's text."""
    settings = load(folder / "config.yaml", {("stores", "data_dir"): folder / ".synapscale"})
    stores = Stores(DataFolder(settings.stores.data_dir), redis_url="unix:///none", durable=False)
    stores.start()
    try:
        file = settings.stores.data_dir / MASTER_KEY
        asyncio.run(prepare(settings, stores.database_url, MasterKey.load_or_create(file)))
    finally:
        stores.stop()
    return file.read_bytes()


@pytest.mark.parametrize("dies_in", ["", "replace", "change"])
def test_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dies_in: str) -> None:
    """Killed before the files are swapped, or before anything was sealed: the next try ends what was begun."""
    monkeypatch.setenv("SYNAPSCALE_DATA_DIR", str(tmp_path / ".synapscale"))
    (tmp_path / "config.yaml").write_text("")
    old = embedded(tmp_path)
    file = tmp_path / ".synapscale" / MASTER_KEY

    class Killed(BaseException):
        pass

    def killed(*arguments: object, **named: object) -> None:
        raise Killed

    if dies_in:
        with monkeypatch.context() as patch:
            patch.setattr(module.os if dies_in == "replace" else module, dies_in if dies_in == "replace" else "_change", killed)
            with pytest.raises(Killed):
                run(["master-key", "rotate"])
        assert file.read_bytes() == old
        draft = file.with_name("master-key.new").read_bytes()
    assert run(["master-key", "rotate"]) == 0, capsys.readouterr().err
    new = file.read_bytes()
    assert new != old and (not dies_in or new == draft)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not file.with_name("master-key.new").exists()
    kept = file.with_name(f"master-key.{MasterKey(base64.b64decode(old)).key_id.hex()}")
    assert kept.read_bytes() == old and kept.stat().st_mode & 0o777 == 0o600
    assert run(["master-key", "retire"]) == 0
    capsys.readouterr()
    assert run(["master-key", "status", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["id"] == MasterKey(base64.b64decode(new)).key_id.hex()
    file.unlink()
    assert run(["master-key", "rotate"]) == 2
    assert "reset" in capsys.readouterr().err
    assert run(["master-key", "reset", "--yes"]) == 0
    assert Keyring(MasterKey.load(value=None, file=file)).master.key_id.hex() != row["id"]
