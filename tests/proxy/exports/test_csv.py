"""CSV that every reader reads back the same, and in which nothing runs."""

from __future__ import annotations

import csv as stdlib
import io
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.exports import csv
from proxy.exports.columns import Column, integer, text, usd, word

COLUMNS = (text("said"), integer("count"), usd("cost_usd", "pusd"), word("kind"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))  # what Postgres' text holds


@given(st.lists(st.tuples(TEXTS | st.none(), st.integers(-(10**30), 10**30) | st.none(), st.integers(-(10**30), 10**30))))
@example([('=cmd|" /C calc"!A0', None, -1), ('a,"b"\r\nc', 0, 0), ("", 1, 10**12)])
def test_what_is_written_is_read_back(rows: list[tuple[str | None, int | None, int]]) -> None:
    records = [{"said": said, "count": count, "pusd": pusd, "kind": "usage"} for said, count, pusd in rows]
    content = csv.head(COLUMNS) + csv.body(COLUMNS, records)
    read = list(stdlib.reader(io.StringIO(content.decode(), newline=""), strict=True))
    assert read[0] == ["said", "count", "cost_usd", "kind"]
    for (said, count, pusd), row in zip(rows, read[1:], strict=True):
        assert row[0] == csv.harmless(said or "") and row[0] in (said or "", f"'{said}")
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert row[1] == ("" if count is None else str(count)) and row[3] == "usage"
        whole, _, decimals = row[2].lstrip("-").partition(".")
        assert (-1 if row[2].startswith("-") else 1) * (int(whole) * 10**12 + int(decimals.ljust(12, "0"))) == pusd


def test_rfc_4180() -> None:
    row = {"said": 'two "lines"\r\nhere', "count": 1, "pusd": -1, "kind": "refund"}
    assert csv.head(COLUMNS) == b"said,count,cost_usd,kind\r\n"
    assert csv.body(COLUMNS, [row]) == b'"two ""lines""\r\nhere",1,-0.000000000001,refund\r\n'


def test_only_text_that_somebody_chose_is_changed() -> None:
    def of(value: Any) -> Column:
        return Column("x", value, lambda row: "-1")

    assert csv.body([of("text"), of("usd"), of("word"), of("id")], [{}]) == b"'-1,-1,-1,-1\r\n"


def test_zero_is_not_missing() -> None:
    columns = (integer("count"), Column("flag", "boolean", lambda row: False), Column("lines", "lines", lambda row: []))
    assert csv.body(columns, [{"count": 0}, {"count": None}]) == b"0,false,[]\r\n,false,[]\r\n"
