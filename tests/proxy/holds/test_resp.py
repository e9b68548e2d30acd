from __future__ import annotations

from uuid import UUID

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from proxy.holds.lua import SETTLE
from proxy.holds.resp import hex_of, open_call, pack, pack_script, word


@given(st.lists(st.one_of(st.binary(), st.text(), st.integers()), min_size=1))
def test_what_is_packed_is_read(words: list[bytes | str | int]) -> None:
    reader = hiredis.Reader()
    reader.feed(pack(*words))
    assert reader.gets() == [item if isinstance(item, bytes) else str(item).encode() for item in words]


def test_an_opened_call_is_the_same_call() -> None:
    whole = pack_script(SETTLE, ["{s0}:holds", "{s0}:usage"], [b"a", b"event"])
    opened = open_call(SETTLE, ["{s0}:holds"], more_keys=1, more_args=2)
    assert opened + word("{s0}:usage") + word(b"a") + word(b"event") == whole


@given(st.uuids())
def test_hex_of(value: UUID) -> None:
    assert hex_of(value) == value.hex.encode()
