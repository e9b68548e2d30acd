"""Which exports there are, and in which formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from proxy.exports import billing_events, csv, daily, jsonl, store, usage_events
from proxy.exports.columns import Column, Record, Sum

KindName = Literal["usage-events", "billing-events", "daily"]
FormatName = Literal["csv", "jsonl"]


class Kind(NamedTuple):
    """`batches` reads the rows, in the order of the file."""

    columns: tuple[Column, ...]
    sums: tuple[Sum, ...]
    batches: store.Batches


class Format(NamedTuple):
    suffix: str
    media_type: str
    head: Callable[[Sequence[Column]], bytes]
    body: Callable[[Sequence[Column], Iterable[Record]], bytes]


KINDS: Mapping[KindName, Kind] = {
    "usage-events": Kind(usage_events.COLUMNS, usage_events.SUMS, store.usage_events),
    "billing-events": Kind(billing_events.COLUMNS, billing_events.SUMS, store.billing_events),
    "daily": Kind(daily.COLUMNS, daily.SUMS, store.daily),
}
FORMATS: Mapping[FormatName, Format] = {
    "csv": Format(csv.SUFFIX, csv.MEDIA_TYPE, csv.head, csv.body),
    "jsonl": Format(jsonl.SUFFIX, jsonl.MEDIA_TYPE, jsonl.head, jsonl.body),
}
