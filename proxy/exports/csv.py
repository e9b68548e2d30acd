"""CSV by RFC 4180: a header, CRLF, quotes where they are needed. Nothing in it runs as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import orjson

from proxy.exports.columns import Column, Record, Value

SUFFIX, MEDIA_TYPE = "csv", "text/csv; charset=utf-8"

# A spreadsheet takes a cell that begins so for a formula, also behind a tab or a line break, and in some languages also
# the full-width forms (OWASP, "CSV injection"): text that a user chose is made text again by an apostrophe before it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def head(columns: Sequence[Column]) -> bytes:
    return _written([[column.name for column in columns]])


def body(columns: Sequence[Column], records: Iterable[Record]) -> bytes:
    return _written([[_cell(column, column.of(record)) for column in columns] for record in records])


def harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cell(column: Column, value: Value) -> str | int:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return harmless(value) if column.type == "text" else value
    return value if isinstance(value, int) else orjson.dumps(value).decode()


def _written(rows: Iterable[Sequence[str | int]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()
