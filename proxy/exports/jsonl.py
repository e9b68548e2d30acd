"""JSON lines: an object per row, typed; what is not known is null, money is exact decimal text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from proxy.exports.columns import Column, Record

SUFFIX, MEDIA_TYPE = "jsonl", "application/x-ndjson"

# Not orjson: the sum of a day's quantities may be beyond 64 bits, and there orjson refuses.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def head(columns: Sequence[Column]) -> bytes:
    return b""


def body(columns: Sequence[Column], records: Iterable[Record]) -> bytes:
    return b"".join(
        _encode({column.name: column.of(record) for column in columns}).encode() + b"\n" for record in records
    )
