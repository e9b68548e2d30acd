"""Prices attempts again, a batch at a time, and corrects those that come to something else now.

What an attempt comes to follows from its row and the terms of its moment, so a batch that is repeated finds nothing left to
do, and one that was cut short has done nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from proxy.ledger.corrections import store
from proxy.ledger.corrections.entries import Balance, Due, balance, due, refund_due
from proxy.ledger.corrections.figures import Attempt
from proxy.ledger.corrections.pricing_again import priced_again
from proxy.ledger.corrections.store import Author, Correction, Entry, Key
from proxy.ledger.corrections.terms import store as terms_store
from proxy.ledger.corrections.terms.store import Terms
from proxy.ledger.corrections.writer import become_writer
from proxy.ledger.credits import store as credits
from proxy.ledger.partitions import store as partitions
from proxy.ledger.rollups import store as rollups
from proxy.storage.postgres import Connection
from proxy.wire.ids import unix_ms_of

# Of one llm a day may have few attempts among many.
_DAYS_AT_ONCE = 7


@dataclass(frozen=True, slots=True)
class Place:
    """How far it is: at the beginning of a day, or behind an attempt of it. Days are gone through by workspace."""

    day: date
    after: tuple[UUID, UUID] | None = None  # workspace, attempt


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since` inclusive, `until` exclusive. `place` None: from the beginning."""

    since: datetime
    until: datetime
    llm: str | None = None
    place: Place | None = None
    limit: int = 1000


@dataclass(slots=True)
class Rerated:
    """`left`: abandoned lately, so not looked at. `place` None: all of it is done."""

    examined: int = 0
    left: int = 0
    changed: int = 0
    became_priced: int = 0
    unpriced: int = 0
    list_pusd: int = 0
    charge_pusd: int = 0
    place: Place | None = None


async def rerate(
    db: Connection, wanted: Wanted, author: Author, *, dry_run: bool, now: datetime, new_id: Callable[[], UUID]
) -> Rerated:
    """One batch, inside the caller's transaction, which should end soon: nobody else writes these shards meanwhile."""
    keys, place = await _next(db, wanted)
    await become_writer(db, await store.shards(db, {key.workspace_id for key in keys}))
    attempts = await store.load(db, keys)
    settled = [one for one in attempts if not one.may_still_be_settled(now)]
    done = Rerated(examined=len(settled), left=len(attempts) - len(settled), place=place)
    if not settled:
        return done
    terms = await _terms(db, settled)
    corrections: list[Correction] = []
    for one in settled:
        figures = priced_again(one, terms)
        done.unpriced += figures.pricing == "unpriced"
        if figures.same_as(one.now):
            continue
        corrections.append(Correction(one, one.corrections + 1, figures))
        done.changed += 1
        done.became_priced += one.now.pricing == "unpriced" and figures.pricing == "priced"
        done.list_pusd += figures.list_pusd - one.now.list_pusd
        done.charge_pusd += figures.charge_pusd - one.now.charge_pusd
    if corrections and not dry_run:
        await _write(db, corrections, author, new_id)
    return done


async def _next(db: Connection, wanted: Wanted) -> tuple[list[Key], Place | None]:
    """A batch, and the place behind it."""
    since, until = wanted.since.astimezone(UTC), wanted.until.astimezone(UTC)
    first = since.date() if wanted.place is None else max(since.date(), wanted.place.day)
    days = sorted(day for day in await partitions.existing(db) if first <= day <= until.date())
    keys: list[Key] = []
    for day in days[:_DAYS_AT_ONCE]:
        after = wanted.place.after if wanted.place is not None and wanted.place.day == day else None
        found = await store.page(
            db, day=day, since=since, until=until, llm=wanted.llm, after=after, limit=wanted.limit - len(keys)
        )
        keys += found
        if len(keys) == wanted.limit:
            return keys, Place(day, (keys[-1].workspace_id, keys[-1].attempt_id))
    return keys, Place(days[_DAYS_AT_ONCE]) if len(days) > _DAYS_AT_ONCE else None


async def _terms(db: Connection, attempts: Sequence[Attempt]) -> Terms:
    return await terms_store.load(
        db,
        providers={one.provider for one in attempts},
        workspaces={one.workspace_id for one in attempts},
        items={item for one in attempts for item in one.row.price_item_ids if item is not None},
        since=attempts[0].occurred_at,
        until=attempts[-1].occurred_at,
    )


async def _write(db: Connection, corrections: Sequence[Correction], author: Author, new_id: Callable[[], UUID]) -> None:
    await store.write_corrections(db, corrections, author)
    await store.write_delta(db, corrections)
    await rollups.add_delta(db)
    there = await _balances(db, corrections)
    entries = [
        _entry(one.attempt, found, new_id())
        for one in corrections
        if (found := due(
            one.figures.charge_kind, one.attempt.now.owed_pusd, one.figures.owed_pusd, there[one.attempt.attempt_id],
            author.reason,
        )) is not None
    ]  # fmt: skip
    if not entries:
        return
    await store.write_entries(db, entries, author)
    if any(one.attempt.provider_account == "own" for one in corrections):
        await credits.add_delta(db, now_ms=unix_ms_of(new_id()))
    refunded = [one for one in corrections if there[one.attempt.attempt_id].granted_pusd]
    if refunded:
        there = await _balances(db, refunded)
        await store.write_entries(db, [
            _entry(one.attempt, found, new_id())
            for one in refunded
            if (found := refund_due(there[one.attempt.attempt_id])) is not None
        ], author)  # fmt: skip


async def _balances(db: Connection, corrections: Sequence[Correction]) -> dict[UUID, Balance]:
    ids = [one.attempt.attempt_id for one in corrections]
    there = await store.entries_of(db, ids)
    return {attempt_id: balance(there.get(attempt_id, ())) for attempt_id in ids}


def _entry(attempt: Attempt, found: Due, id: UUID) -> Entry:
    return Entry(
        id, attempt.workspace_id, attempt.user_id, attempt.virtual_key_id, attempt.attempt_id, found.kind,
        found.amount_pusd, found.corrects, found.reason, attempt.occurred_at,
    )  # fmt: skip
