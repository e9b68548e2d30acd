"""A house with a past is backed up, destroyed, and restored: rows, money, keys, and what was under way."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.embedded.archive import MANIFEST
from tests.promises.books import audit, pusd, written
from tests.promises.crowd import Ask, Crowd
from tests.promises.house import ROOT, House, eventually
from tests.promises.process_tree import send
from tests.promises.provider import Provider, config


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def house(tmp_path: Path, provider: Provider) -> Iterator[House]:
    house = House(tmp_path, config(provider.base_url), workers=1)
    try:
        house.start()
        yield house
    finally:
        house.kill_all()


def run(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxy", *arguments, "--data-dir", str(house.data)]
    if arguments[0] in ("backup", "restore", "master-key"):
        command += ["--config", str(house.folder / "config.yaml")]
    return subprocess.run(command, cwd=ROOT, env=house._env, capture_output=True, text=True, check=False)


def destroy(house: House) -> None:
    """kill -9 of everything at once, and the disk is gone."""
    assert house.process is not None
    send(house.pids_of_all(), signal.SIGKILL)
    house.process.wait()


def leftovers(folder: Path) -> list[Path]:
    return [*folder.glob(".synapscale-*"), *folder.glob("*.restoring"), *folder.glob(".house.backup*")]


def spent(house: House) -> tuple[int, int]:
    total: dict[str, Any] = house.api("usage/summary?group_by=llm")["total"]
    return total["requests"], pusd(total["charge_usd"])


def someone_with_an_own_key(house: House) -> str:
    """A virtual key of somebody who pays the provider themselves."""
    workspace = house.api("workspaces")["data"][0]["id"]
    user = house.api("users", "POST", {"email": "own@example.com", "name": "Own"})["id"]
    house.api(f"workspaces/{workspace}/members", "POST", {"user_id": user, "role": "member"})
    own = {"workspace_id": workspace, "scope": "user", "user_id": user, "provider": "scripted", "value": "own-key-0123456789"}
    house.api("user-variables", "POST", own)
    made = house.api("virtual-keys", "POST", {"workspace_id": workspace, "user_id": user, "name": "own"})
    return str(made["key"])


@pytest.mark.timeout(180)
async def test_at_work(house: House, provider: Provider, tmp_path: Path) -> None:
    """Settled and written, settled and only in the stream, under way: all of it is there again."""
    crowd = Crowd(house, "at-work")
    own_key = someone_with_an_own_key(house)
    for ask in (Ask("short"), Ask("cached"), Ask("short", stream=False), Ask("silent")):
        await asyncio.gather(*(crowd.ask(ask) for _ in range(5)))
    await written(house, crowd, 20)
    before = spent(house)
    assert before[0] == 20 and before[1] > 0
    house.signal("worker", signal.SIGSTOP)
    await asyncio.gather(*(crowd.ask(Ask("short")) for _ in range(10)))
    assert house.pending()["unread"] == 10
    under_way = asyncio.ensure_future(crowd.ask(Ask("endless")))
    await eventually(lambda: house.pending()["holds"] == 1, "an attempt is under way")
    master_key = (house.data / "master-key").read_text()
    file = tmp_path / "house.backup"
    done = run(house, "backup", str(file))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert "master key is not in it" in done.stderr and f"{file.stat().st_size:,} bytes" in done.stderr
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names[0] == MANIFEST and not any(name.startswith("keys") for name in names)
    admin_key, first_key = house.admin_key, house.key
    destroy(house)
    await under_way
    shutil.rmtree(house.data)

    (tmp_path / "kept").write_text(master_key)
    done = run(house, "restore", str(file), "--master-key-file", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    assert f"Next: synapscale serve --data-dir {house.data}\n" in done.stderr and "SYNAPSCALE_ADMIN_KEY" in done.stderr
    for name, secret in (("admin-key", admin_key), ("first-key", first_key)):
        (house.data / name).write_text(secret)  # what a person has kept; the backup has none of them
    house.start()
    await written(house, crowd, 31)
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert books.outcomes() == {"ok": 30, "abandoned": 1}
    # Both virtual keys are known, and what was sealed opens.
    assert (await crowd.ask(Ask("short"), key=first_key)).end == "finished"
    another = Crowd(house, "own")
    assert (await another.ask(Ask("short"), key=own_key)).end == "finished"
    await written(house, another, 1)
    assert house.api("usage/events?limit=1")["data"][0]["key_source"] == "user"
    assert not leftovers(tmp_path)


@pytest.mark.timeout(180)
async def test_dead_with_events_in_the_spool(house: House, provider: Provider, tmp_path: Path) -> None:
    """Backed up where it lies, with its keys; a second restore into the same place is refused."""
    crowd = Crowd(house, "dead")
    await asyncio.gather(*(crowd.ask(Ask("short")) for _ in range(3)))
    await written(house, crowd, 3)
    slow = [asyncio.ensure_future(crowd.ask(Ask("paced"))) for _ in range(3)]
    await eventually(lambda: house.pending()["holds"] == 3, "attempts are under way")
    house.signal("valkey", signal.SIGSTOP)
    await asyncio.gather(*slow)  # settled into the spool
    assert sum(path.stat().st_size for path in (house.data / "spool").iterdir()) > 0
    destroy(house)
    file = tmp_path / "house.backup"
    done = run(house, "backup", str(file), "--with-keys")
    assert done.returncode == 0, done.stderr
    assert run(house, "backup", str(file)).returncode == 2  # never over another one
    assert run(house, "restore", str(file)).returncode == 1  # nor over data
    shutil.rmtree(house.data)
    done = run(house, "restore", str(file))
    assert done.returncode == 0, done.stderr
    house.start()
    await written(house, crowd, 6)
    books = await audit(house, provider, crowd, killed_gateways=True)
    assert books.outcomes() == {"ok": 6}


def test_a_changed_or_cut_file_is_refused_and_leaves_nothing(house: House, tmp_path: Path) -> None:
    file = tmp_path / "house.backup"
    assert run(house, "backup", str(file), "--with-keys").returncode == 0
    house.stop()
    shutil.rmtree(house.data)
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        dump = tar.getmember("postgres.dump")
    middle = dump.offset_data + dump.size // 2
    for damaged in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], b"no tar at all"):
        file.write_bytes(damaged)
        done = run(house, "restore", str(file))
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert not house.data.exists()
    file.write_bytes(whole)
    (tmp_path / "wrong").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    assert run(house, "restore", str(file), "--master-key-file", str(tmp_path / "wrong")).returncode == 2
    assert not house.data.exists()
    assert run(house, "restore", str(file)).returncode == 0


def test_another_databases_master_key_is_refused(house: House, tmp_path: Path) -> None:
    file = tmp_path / "house.backup"
    assert run(house, "backup", str(file)).returncode == 0
    house.stop()
    shutil.rmtree(house.data)
    (tmp_path / "wrong").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    done = run(house, "restore", str(file), "--master-key-file", str(tmp_path / "wrong"))
    assert done.returncode == 1 and "not the one of this database" in done.stderr
    assert not house.data.exists() and not leftovers(tmp_path)
