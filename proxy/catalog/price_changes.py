"""What must be written so that stored price versions follow the wanted history. Pure.

The past is never rewritten: a price that is or was in force keeps its items, as settled events name them. A wanted
price that differs from the one in force takes over now, whatever its own date says; versions whose time has not come
are replaced freely. Only a route without any version receives the whole history, dates included.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from pricing.book import DatedPrice
from pricing.price_text import digest


class Stored(NamedTuple):
    id: UUID
    effective_from: datetime
    effective_to: datetime | None
    digest: str


class Changes(NamedTuple):
    """`ends`: version → its new `effective_to`. `drops`: versions that were never in force."""

    ends: dict[UUID, datetime | None]
    drops: list[UUID]
    adds: list[DatedPrice]


def price_changes(stored: Sequence[Stored], wanted: Sequence[DatedPrice], now: datetime) -> Changes:
    if not stored:
        return Changes({}, [], list(wanted))
    coming = sorted((v for v in stored if v.effective_from > now), key=lambda v: v.effective_from)
    wanted_coming = [price for price in wanted if price.effective_from > now]
    current = next((v for v in stored if v.effective_from <= now and _ends_after(v.effective_to, now)), None)
    wanted_now = next((p for p in wanted if p.effective_from <= now and _ends_after(p.effective_to, now)), None)

    changes = Changes({}, [], [])
    as_stored = [(price.effective_from, price.effective_to, digest(price.points)) for price in wanted_coming]
    if [version[1:] for version in coming] != as_stored:
        changes.drops.extend(version.id for version in coming)
        changes.adds.extend(wanted_coming)
    if current is not None and wanted_now is not None and current.digest == digest(wanted_now.points):
        if current.effective_to != wanted_now.effective_to:
            changes.ends[current.id] = wanted_now.effective_to
        return changes
    moment = now
    if current is not None:
        moment = max(now, current.effective_from + timedelta(microseconds=1))  # a version lasts at least an instant
        changes.ends[current.id] = moment
    if wanted_now is not None and _ends_after(wanted_now.effective_to, moment):
        changes.adds.append(wanted_now._replace(effective_from=moment))
    return changes


def _ends_after(end: datetime | None, moment: datetime) -> bool:
    return end is None or end > moment
