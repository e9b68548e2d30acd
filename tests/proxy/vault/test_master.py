from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.vault.master import MasterKey, MasterKeyError

MASTER = bytes(range(200, 232))


def test_both_base64_alphabets_are_one_key(tmp_path: Path) -> None:
    plain = MasterKey.load(value=base64.b64encode(MASTER).decode(), file=None)
    safe = MasterKey.load(value=base64.urlsafe_b64encode(MASTER).decode() + "\n", file=None)
    assert plain.sealing_key == safe.sealing_key
    (tmp_path / "key").write_bytes(base64.b64encode(MASTER) + b"\n")
    assert MasterKey.load(value=None, file=tmp_path / "key").key_id == plain.key_id


def test_the_derived_keys_differ_from_each_other_and_from_the_master() -> None:
    key = MasterKey(MASTER)
    assert len({key.sealing_key, key.hash_key, MASTER}) == 3
    assert key.key_id not in (key.sealing_key[:4], key.hash_key[:4], MASTER[:4])
    assert MASTER.hex() not in repr(key)


@pytest.mark.parametrize("value", ["", "   ", "c2hvcnQ=", "not base64!", base64.b64encode(b"x" * 33).decode()])
def test_a_bad_value_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(MasterKeyError) as caught:
        MasterKey.load(value=value, file=None)
    if value.strip():
        assert value.strip() not in str(caught.value)


def test_none_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="SYNAPSCALE_MASTER_KEY"):
        MasterKey.load(value=None, file=None)
    with pytest.raises(MasterKeyError, match="does not exist"):
        MasterKey.load(value=None, file=tmp_path / "none")


def test_many_first_starts_read_one_key(tmp_path: Path) -> None:
    file = tmp_path / "master-key"
    with ThreadPoolExecutor(8) as threads:
        keys = {key.sealing_key for key in threads.map(lambda _: MasterKey.load_or_create(file), range(32))}
    assert len(keys) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["master-key"]


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "master-key"
    file.write_text("damaged")
    with pytest.raises(MasterKeyError, match="not base64"):
        MasterKey.load_or_create(file)
    assert file.read_text() == "damaged"


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="cannot be written"):
        MasterKey.load_or_create(tmp_path / "no" / "master-key")
