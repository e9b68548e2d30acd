"""One stream entry, and what a batch of them turns into: rows to write, dead letters, entries to leave alone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from proxy.settlement.charge import LIST_BPS, charges
from proxy.settlement.usage_event import VERSION, UsageEvent, decode
from proxy.wire.ids import unix_ms_of

_KNOWN_VERSION = str(VERSION).encode()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000
_INT4_MAX, _INT8_MAX = 2**31 - 1, 2**63 - 1
_BPS_MOST = LIST_BPS + 1_000_000  # of list and the largest markup: migrations/0004
_INT4_FIELDS = ("attempt_number", "upstream_status", "latency_ms", "first_token_ms", "overhead_ms")
_INT8_FIELDS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "list_pusd", "charge_pusd")
_INT8_LISTS = ("quantities", "line_list_pusd", "line_charge_pusd")
_TEXT_FIELDS = tuple(
    f.name for f in msgspec.structs.fields(UsageEvent) if f.type is str or f.type == str | None
)


class Entry(NamedTuple):
    """As the stream holds it: `v` the version, `e` the event. `l` (no hold was left) makes no difference to a row."""

    id: bytes
    version: bytes | None
    event: bytes | None


class Row(NamedTuple):
    """An event that may be written. `occurred_at` is the moment inside its attempt id."""

    entry_id: bytes
    event: UsageEvent
    occurred_at: datetime


class DeadLetter(NamedTuple):
    entry_id: bytes
    payload: bytes
    error: str


@dataclass(slots=True)
class Sifted:
    """`rows`: one per attempt. `ids`: what may be acknowledged once rows and dead letters are committed."""

    rows: list[Row] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)

    @property
    def days(self) -> set[date]:
        return {row.occurred_at.date() for row in self.rows}


@dataclass(frozen=True, slots=True)
class DateBounds:
    """Which moments are believed. Outside: a broken clock or a forged id, and no partition is made for it."""

    future_s: int = 86_400
    past_s: int = 90 * 86_400

    def hold(self, occurred_ms: int, now_ms: int) -> bool:
        return now_ms - self.past_s * 1000 <= occurred_ms <= now_ms + self.future_s * 1000


def sift(
    entries: Iterable[Entry], *, now_ms: int, bounds: DateBounds, closed_days: Collection[date] = frozenset()
) -> Sifted:
    """`closed_days`: days that can have no partition. Of two entries for one attempt a final one beats an abandoned
    one, else the first wins: it is what a table that held the first would keep."""
    sifted = Sifted()
    rows: dict[tuple[UUID, UUID], Row] = {}
    for entry in entries:
        if entry.version is not None and entry.version != _KNOWN_VERSION:
            sifted.unknown.append(entry.id)  # a newer gateway's: a newer writer will read it
            continue
        sifted.ids.append(entry.id)
        row = _judge(entry, now_ms, bounds, closed_days)
        if isinstance(row, DeadLetter):
            sifted.dead.append(row)
            continue
        key = (row.event.workspace_id, row.event.attempt_id)
        before = rows.get(key)
        if before is None or (before.event.outcome == "abandoned" and row.event.outcome != "abandoned"):
            rows[key] = row
    sifted.rows = list(rows.values())
    return sifted


def bury(entry: Entry, error: str) -> DeadLetter:
    return DeadLetter(entry.id, entry.event or b"", error.replace("\x00", "\\u0000")[:2000])


def stream_ms(entry_id: bytes) -> int:
    """When the entry was added, by the clock of the Redis server."""
    return int(entry_id.partition(b"-")[0])


def moment(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)


def _judge(entry: Entry, now_ms: int, bounds: DateBounds, closed_days: Collection[date]) -> Row | DeadLetter:
    if entry.version is None or entry.event is None:
        return bury(entry, "not an event: a field is missing, or the entry was deleted before it was read")
    try:
        event = decode(entry.event)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: not UTF-8
        return bury(entry, f"not an event: {error}")
    occurred_ms = unix_ms_of(event.attempt_id)
    if not bounds.hold(occurred_ms, now_ms):
        days = (occurred_ms - now_ms) / _DAY_MS
        return bury(entry, f"absurd date: attempt {event.attempt_id} lies {days:+.1f} days from now")
    if event.provider_account == "own" and event.charge_kind == "usage":
        # Of a gateway that knew no plans: own keys were free.
        event.charge_kind, event.charge_bps, event.charge_reason = "none", 0, "own_key"
    wrong = _wrong_numbers(event) or _wrong_charge(event)
    if wrong:
        return bury(entry, wrong)
    occurred_at = moment(occurred_ms)
    if occurred_at.date() in closed_days:
        return bury(entry, f"no partition can be made for {occurred_at.date()}")
    if b"\\u0000" in entry.event:
        _escape_nul(event)
    return Row(entry.id, event, occurred_at)


def _wrong_numbers(event: UsageEvent) -> str:
    """What the tables could not hold, or could hold only as a sum that is wrong. Empty: nothing."""
    for name in _INT4_FIELDS:
        value = getattr(event, name)
        if value is not None and not -_INT4_MAX <= value <= _INT4_MAX:
            return f"{name} is out of range"
    for name in _INT8_FIELDS:
        value = getattr(event, name)
        if value is not None and not 0 <= value <= _INT8_MAX:
            return f"{name} is out of range"
    for name in _INT8_LISTS:
        values: Sequence[int] = getattr(event, name)
        if len(values) != len(event.units):
            return f"{name} is not as long as units"
        if values and not (min(values) >= 0 and max(values) <= _INT8_MAX):
            return f"{name} is out of range"
    if len(event.price_item_ids) != len(event.units):
        return "price_item_ids is not as long as units"
    if sum(event.line_list_pusd) != event.list_pusd or sum(event.line_charge_pusd) != event.charge_pusd:
        return "the lines do not add up to the sums"
    return ""


def _wrong_charge(event: UsageEvent) -> str:
    """A charge that does not follow from the list amounts by its own basis points."""
    bps = event.charge_bps
    match event.charge_kind:
        case "usage":
            known = 0 <= bps <= _BPS_MOST
        case "platform_fee":
            known = 0 < bps <= LIST_BPS
        case "none":
            known = bps == 0
        case _:
            return f"charge_kind is usage, platform_fee or none, not {event.charge_kind[:40]!r}"
    if not known:
        return f"charge_bps is out of range for {event.charge_kind}: {bps}"
    if event.line_charge_pusd != charges(bps, event.line_list_pusd):
        return f"the charge of a line is not its list amount at {bps} basis points"
    return ""


def _escape_nul(event: UsageEvent) -> None:
    """Postgres text cannot hold NUL: it is written as JSON writes it, so that nothing said is lost."""
    for name in _TEXT_FIELDS:
        value = getattr(event, name)
        if value is not None and "\x00" in value:
            setattr(event, name, value.replace("\x00", "\\u0000"))
    event.units = [unit.replace("\x00", "\\u0000") for unit in event.units]
