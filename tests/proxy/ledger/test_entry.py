"""What a batch of entries turns into, without any store."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.entry import DateBounds, Entry, moment, sift, stream_ms
from proxy.settlement.usage_event import encode

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
BOUNDS = DateBounds()


def entry(number: int, event: object, version: bytes | None = b"1") -> Entry:
    return Entry(b"%d-0" % number, version, event if isinstance(event, bytes) else encode(event))


def errors(*entries: Entry, **options: object) -> list[str]:
    return [letter.error for letter in sift(entries, now_ms=NOW_MS, bounds=BOUNDS, **options).dead]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12))
def test_one_row_per_attempt_a_final_one_beats_abandoned_then_the_first_wins(event, entries):
    from_attempt = [event(at_ms=NOW_MS) for _ in range(4)]
    sent = []
    for number, (attempt, is_final) in enumerate(entries):
        one = msgspec.structs.replace(
            from_attempt[attempt], outcome="ok" if is_final else "abandoned", upstream_status=number
        )
        sent.append(entry(number, one))
    sifted = sift(sent, now_ms=NOW_MS, bounds=BOUNDS)
    assert sifted.ids == [one.id for one in sent]
    for attempt, which in enumerate(from_attempt):
        mine = [(number, is_final) for number, (of, is_final) in enumerate(entries) if of == attempt]
        rows = [row.event for row in sifted.rows if row.event.attempt_id == which.attempt_id]
        if mine:
            expected = next((number for number, is_final in mine if is_final), mine[0][0])
            assert [row.upstream_status for row in rows] == [expected]
        else:
            assert rows == []


@pytest.mark.parametrize(
    ("off_ms", "believed"),
    [(0, True), (DAY_MS, True), (DAY_MS + 1, False), (-90 * DAY_MS, True), (-90 * DAY_MS - 1, False), (2**47, False)],
)
def test_absurd_dates_are_not_believed(event, off_ms, believed):
    found = errors(entry(1, event(at_ms=NOW_MS + off_ms)))
    assert found == [] if believed else found[0].startswith("absurd date")


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_tokens": 2**63},
        {"input_tokens": -1},
        {"latency_ms": 2**31},
        {"quantities": [10, 2**63]},
        {"quantities": [10, -5]},
        {"line_list_pusd": [-30, 95]},
        {"price_item_ids": []},
        {"line_charge_pusd": [30], "charge_pusd": 65},
        {"charge_pusd": 64},
        {"list_pusd": 66},
    ],
)
def test_numbers_that_the_tables_cannot_hold_or_sum(event, wrong):
    assert len(errors(entry(1, event(at_ms=NOW_MS, **wrong)))) == 1


def test_the_largest_numbers_pass(event):
    most = 2**63 - 1
    largest = event(at_ms=NOW_MS, line_list_pusd=[most, 0], quantities=[most, 0], input_tokens=most)
    assert errors(entry(1, largest)) == []


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"[]", b'{"zz":' + b"[" * 100_000, b'{"llm": "\xff\xfe"}'])
def test_bytes_that_are_no_event_are_kept_as_they_are(payload):
    [letter] = sift([entry(1, payload)], now_ms=NOW_MS, bounds=BOUNDS).dead
    assert letter.payload == payload


def test_an_unknown_version_is_left_alone_and_a_missing_one_is_not_an_event(event):
    entries = [entry(1, b"whatever", b"2"), Entry(b"2-0", None, b"x"), Entry(b"3-0", b"1", None)]
    sifted = sift(entries, now_ms=NOW_MS, bounds=BOUNDS)
    assert sifted.unknown == [b"1-0"]
    assert sifted.ids == [b"2-0", b"3-0"]
    assert len(sifted.dead) == 2


def test_a_closed_day_is_a_reason(event):
    [error] = errors(entry(1, event(at_ms=NOW_MS)), closed_days={moment(NOW_MS).date()})
    assert str(moment(NOW_MS).date()) in error


def test_days_are_utc_days(event):
    midnight = NOW_MS - NOW_MS % DAY_MS
    entries = [entry(1, event(at_ms=midnight - 1)), entry(2, event(at_ms=midnight))]
    days = sift(entries, now_ms=NOW_MS, bounds=BOUNDS).days
    assert days == {date(2027, 1, 14), date(2027, 1, 15)}
    assert stream_ms(b"1800000000000-7") == NOW_MS
