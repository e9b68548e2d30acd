from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.vault.master import MasterKey
from proxy.vault.seal import SealBroken, Vault

OLD, NEW = MasterKey(b"o" * 32), MasterKey(b"n" * 32)
ROW = {"workspace_id": UUID(int=1), "provider": "openai", "row_id": UUID(int=2)}
SECRET = "sk-proj-CANARY-0123456789"


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens(plaintext: str) -> None:
    vault = Vault(NEW)
    assert vault.open(vault.seal(plaintext, **ROW), **ROW) == plaintext


@pytest.mark.parametrize("moved", [{"workspace_id": UUID(int=9)}, {"provider": "openai2"}, {"row_id": UUID(int=9)}])
def test_a_blob_opens_in_its_own_row_only(moved: dict[str, object]) -> None:
    vault = Vault(NEW)
    sealed = vault.seal(SECRET, **ROW)
    with pytest.raises(SealBroken) as caught:
        vault.open(sealed, **(ROW | moved))
    assert SECRET not in repr(caught.value)


def test_one_kind_of_blob_does_not_open_as_another() -> None:
    vault = Vault(NEW)
    with pytest.raises(SealBroken):
        vault.open_answer(vault.seal(SECRET, **ROW), actor_id=UUID(int=1), key="openai")
    sealed = vault.seal_answer(b"body", actor_id=UUID(int=1), key="k")
    assert vault.open_answer(sealed, actor_id=UUID(int=1), key="k") == b"body"
    with pytest.raises(SealBroken):
        vault.open_answer(sealed, actor_id=UUID(int=2), key="k")


@given(st.data())
def test_any_changed_or_missing_byte_is_noticed(data: st.DataObject) -> None:
    vault = Vault(NEW)
    sealed = vault.seal(SECRET, **ROW)
    place = data.draw(st.integers(0, len(sealed) - 1))
    broken = bytearray(sealed)
    broken[place] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(broken), sealed[:place]):
        with pytest.raises(SealBroken):
            vault.open(bad, **ROW)


def test_the_plaintext_is_not_in_the_blob_and_no_two_are_alike() -> None:
    vault = Vault(NEW)
    blobs = {vault.seal(SECRET, **ROW) for _ in range(50)}
    assert len(blobs) == 50
    assert not any(b"CANARY" in blob for blob in blobs)


def test_a_new_master_key_still_opens_the_old_ones_seals() -> None:
    sealed = Vault(OLD).seal(SECRET, **ROW)
    assert Vault(NEW, previous=[OLD]).open(sealed, **ROW) == SECRET
    with pytest.raises(SealBroken, match=OLD.key_id.hex()):
        Vault(NEW).open(sealed, **ROW)
    with pytest.raises(SealBroken):
        Vault(OLD).open(Vault(NEW, previous=[OLD]).seal(SECRET, **ROW), **ROW)


def test_no_two_addresses_spell_the_same_bytes() -> None:
    vault, row = Vault(NEW), uuid4()
    sealed = vault.seal_answer(b"x", actor_id=row, key="ab")
    with pytest.raises(SealBroken):
        vault.open_answer(sealed, actor_id=row, key="a")
