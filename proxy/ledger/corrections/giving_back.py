"""Refunds of an attempt, and credits that no attempt caused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from pricing.money import format_usd
from proxy.ledger.corrections import store
from proxy.ledger.corrections.entries import balance
from proxy.ledger.corrections.store import Author, Entry
from proxy.ledger.corrections.writer import become_writer
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire
from proxy.wire.refusals import Reason, Refused


async def refund(
    db: Connection, attempt_id: UUID, amount_pusd: int | None, author: Author, *, now: datetime,
    new_id: Callable[[], UUID],
) -> Entry:
    """`amount_pusd` positive; None: all that is still owed. Raises `Refused` where it is more than that."""
    wire_id = to_wire("att", attempt_id)
    key = await store.find(db, attempt_id)
    if key is None:
        raise Refused(
            Reason.NOT_FOUND, f"No such attempt: {wire_id}. A new one takes a second to arrive.", param="attempt_id"
        )
    await become_writer(db, await store.shards(db, [key.workspace_id]))
    (attempt,) = await store.load(db, [key])
    if attempt.may_still_be_settled(now):
        raise Refused(
            Reason.CONFLICT,
            f"{wire_id} was abandoned: for 48 hours it may still be settled with what it really used. Refund it then.",
        )
    there = balance((await store.entries_of(db, [attempt_id])).get(attempt_id, ()))
    if there.base is None:
        raise Refused(Reason.CONFLICT, f"Nothing was ever charged for {wire_id}: there is nothing to refund.")
    if there.owed_pusd <= 0:
        raise Refused(
            Reason.CONFLICT,
            f"Nothing is owed for {wire_id} any more: {_spelled(there.charged_pusd)} charged, "
            f"{_spelled(there.credited_pusd)} credited, {_spelled(there.refunded_pusd)} refunded.",
        )
    amount_pusd = there.owed_pusd if amount_pusd is None else amount_pusd
    if amount_pusd > there.owed_pusd:
        raise Refused(
            Reason.BAD_VALUE,
            f"{_spelled(amount_pusd)} is more than is still owed for {wire_id}: {_spelled(there.owed_pusd)}.",
            param="amount_usd",
        )
    user_id, virtual_key_id, occurred_at = await store.whose(db, there.base.id)
    entry = Entry(
        new_id(), key.workspace_id, user_id, virtual_key_id, attempt_id, "refund", -amount_pusd, there.base.id,
        author.reason, occurred_at,
    )  # fmt: skip
    await store.write_entries(db, [entry], author)
    return entry


async def credit(
    db: Connection, workspace_id: UUID, amount_pusd: int, author: Author, *, now: datetime, new_id: Callable[[], UUID]
) -> Entry:
    """`amount_pusd` positive: what the workspace owes less."""
    if not await store.workspace_exists(db, workspace_id):
        raise Refused(Reason.NOT_FOUND, "No such workspace. Check the id.", param="workspace_id")
    entry = Entry(new_id(), workspace_id, None, None, None, "credit", -amount_pusd, None, author.reason, now)
    await store.write_entries(db, [entry], author)
    return entry


def _spelled(pusd: int) -> str:
    return f"{format_usd(pusd)} USD"
