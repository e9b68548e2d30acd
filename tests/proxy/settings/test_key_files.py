"""The master key: made once, kept, demanded where it cannot be made here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from proxy.settings.key_files import master_key, read_secret, write_secret
from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings

GIVEN = base64.b64encode(bytes(32)).decode()


def settings(folder: Path, *, database_url: str | None = None, **values: Any) -> Settings:
    return Settings(stores={"data_dir": folder / "data", "database_url": database_url}, **values)  # type: ignore[arg-type]


def test_first_start_makes_it_and_the_next_finds_it(tmp_path: Path) -> None:
    first = master_key(settings(tmp_path))
    file = tmp_path / "data" / "master-key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    assert master_key(settings(tmp_path)).key_id == first.key_id


def test_external_postgres_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SYNAPSCALE_MASTER_KEY"):
        master_key(settings(tmp_path, database_url="postgresql://h/d"))
    assert not (tmp_path / "data").exists()


def test_external_postgres_does_not_take_the_key_of_the_embedded_one(tmp_path: Path) -> None:
    master_key(settings(tmp_path))
    with pytest.raises(ConfigError, match="moved out of an embedded data folder"):
        master_key(settings(tmp_path, database_url="postgresql://h/d"))


def test_given_value_or_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_secret(file, GIVEN)
    by_value = master_key(settings(tmp_path, database_url="postgresql://h/d", master_key=GIVEN))
    by_file = master_key(settings(tmp_path, database_url="postgresql://h/d", master_key_file=file))
    assert by_value.key_id == by_file.key_id


@pytest.mark.parametrize("bad", ["canary", base64.b64encode(b"canary" * 5).decode(), "canary!"])
def test_bad_key_is_refused_and_not_shown(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        master_key(settings(tmp_path, master_key=bad))
    assert bad not in str(caught.value) and "canary" not in str(caught.value)


def test_lost_key_is_not_replaced(tmp_path: Path) -> None:
    """A new one would open nothing that the database beside it holds."""
    master_key(settings(tmp_path))
    (tmp_path / "data/stores/pg").mkdir(parents=True)
    (tmp_path / "data/stores/pg/PG_VERSION").write_text("18\n")
    (tmp_path / "data/master-key").unlink()
    with pytest.raises(ConfigError, match="Restore the file"):
        master_key(settings(tmp_path))
    assert not (tmp_path / "data/master-key").exists()


def test_secret_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "first-key"
    write_secret(file, "one")
    assert file.stat().st_mode & 0o777 == 0o600 and read_secret(file) == "one"
    with pytest.raises(ConfigError):
        write_secret(file, "two")
    assert read_secret(file) == "one" and [path.name for path in file.parent.iterdir()] == ["first-key"]
    assert read_secret(tmp_path / "none") is None
