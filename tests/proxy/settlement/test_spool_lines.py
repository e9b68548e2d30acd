from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settlement.spool_lines import Damaged, Record, decode, decode_all, encode

EVENTS = st.binary().filter(lambda event: b"\n" not in event)
RECORDS = st.builds(Record, st.integers(0, 63), st.uuids(), EVENTS)


@given(RECORDS)
def test_what_is_encoded_is_decoded(record: Record) -> None:
    line = encode(*record)
    assert line.endswith(b"\n")
    assert decode(line[:-1]) == record


@given(st.lists(RECORDS, max_size=4), st.data())
def test_cut_anywhere_all_whole_lines_are_there(records: list[Record], data: st.DataObject) -> None:
    lines = [encode(*record) for record in records]
    written = b"".join(lines)
    cut = data.draw(st.integers(0, len(written)))
    whole = sum(cut >= len(b"".join(lines[: n + 1])) for n in range(len(lines)))
    found = list(decode_all(written[:cut]))
    assert found[:whole] == records[:whole]
    assert all(isinstance(line, Damaged) for line in found[whole:])
    assert len(found) <= whole + 1


@given(RECORDS, st.data())
def test_a_changed_byte_is_noticed(record: Record, data: st.DataObject) -> None:
    line = bytearray(encode(*record)[:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    if b"\n" not in line:
        found = decode(bytes(line))
        # Upper case hex digits of the CRC mean the same number.
        assert isinstance(found, Damaged) or found == record


def test_an_event_is_one_line() -> None:
    with pytest.raises(ValueError, match="one line"):
        encode(0, UUID(int=1), b"{\n}")
