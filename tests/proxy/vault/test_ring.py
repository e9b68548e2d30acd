from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.vault.master import MasterKey
from proxy.vault.ring import Ring
from proxy.vault.seal import SealBroken

OLD, NEW = MasterKey(b"o" * 32), MasterKey(b"n" * 32)


def test_each_master_key_opens_its_own_copy_only() -> None:
    ring = Ring.first(OLD).plus(NEW)
    assert ring.hash_key == OLD.hash_key
    assert ring.sealing == {OLD.key_id: OLD.sealing_key, NEW.key_id: NEW.sealing_key}
    for master, other in ((OLD, NEW), (NEW, OLD)):
        assert Ring.opened(ring.sealed(master), master) == ring
        with pytest.raises(SealBroken):
            Ring.opened(ring.sealed(master), other)


@given(st.data())
def test_any_changed_or_missing_byte_is_noticed(data: st.DataObject) -> None:
    sealed = Ring.first(OLD).sealed(OLD)
    place = data.draw(st.integers(0, len(sealed) - 1))
    broken = bytearray(sealed)
    broken[place] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(broken), sealed[:place]):
        with pytest.raises(SealBroken):
            Ring.opened(bad, OLD)


def test_it_shows_no_key() -> None:
    ring = Ring.first(OLD)
    for shown in (repr(ring), str(ring)):
        assert OLD.hash_key.hex() not in shown and "b'" not in shown
    assert OLD.hash_key not in ring.sealed(OLD) and OLD.sealing_key not in ring.sealed(OLD)
