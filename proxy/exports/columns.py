"""What a column of an export is, and what a value of it becomes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from pricing.money import format_usd
from proxy.wire.ids import NIL, to_wire

# text: anybody's words. word: one of a closed list of ours. usd: an exact decimal. lines: a list of objects.
ColumnType = Literal["id", "time", "day", "text", "word", "integer", "boolean", "usd", "lines"]
Value = str | int | bool | Sequence[Mapping[str, Any]] | None


class Record(Protocol):
    """A row of the store, by the names of its fields."""

    def __getitem__(self, name: str, /) -> Any: ...


class Column(NamedTuple):
    """`of` makes the value out of a row of the store."""

    name: str
    type: ColumnType
    of: Callable[[Record], Value]


class Sum(NamedTuple):
    """A column that a manifest adds up. `field`: its pico-USD in a row of the store."""

    name: str
    field: str


def time_text(moment: datetime) -> str:
    """UTC, ISO 8601, always of the same form."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def id_(name: str, prefix: str, field: str | None = None) -> Column:
    key = field or name

    def show(row: Record) -> Value:
        value: UUID | None = row[key]
        # The nil uuid stands for "none" in rollups, whose columns hold no NULL.
        return None if value is None or value == NIL else to_wire(prefix, value)

    return Column(name, "id", show)


def time(name: str, field: str | None = None) -> Column:
    key = field or name
    return Column(name, "time", lambda row: time_text(row[key]))


def day(name: str) -> Column:
    def show(row: Record) -> Value:
        value: date = row[name]
        return value.isoformat()

    return Column(name, "day", show)


def text(name: str) -> Column:
    return Column(name, "text", lambda row: _string(row[name]))


def word(name: str) -> Column:
    return Column(name, "word", lambda row: _string(row[name]))


def integer(name: str, field: str | None = None) -> Column:
    key = field or name
    # Sums are numeric in SQL and whole: a Decimal becomes an int here, never a float.
    return Column(name, "integer", lambda row: None if row[key] is None else int(row[key]))


def boolean(name: str) -> Column:
    return Column(name, "boolean", lambda row: bool(row[name]))


def usd(name: str, field: str) -> Column:
    return Column(name, "usd", lambda row: format_usd(int(row[field])))


def _string(value: Any) -> str | None:
    return None if value is None else str(value)
