"""Refunds and credits on a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from proxy.ledger.corrections import giving_back
from proxy.ledger.corrections.store import Entry
from proxy.wire.refusals import Reason, Refused
from tests.proxy.ledger.conftest import KEY, USER, WORKSPACE, build_event
from tests.proxy.ledger.corrections.conftest import AUTHOR, House, new_id
from tests.proxy.ledger.corrections.test_rerate import RAW, UNPRICED, assert_agreement, settle


async def refund(
    house: House, attempt_id: UUID, amount_pusd: int | None = None, later: timedelta = timedelta()
) -> Entry:
    now = datetime.now(UTC) + later
    async with house.pool.acquire() as db, db.transaction():
        return await giving_back.refund(db, attempt_id, amount_pusd, AUTHOR, now=now, new_id=new_id)


async def refused(work: Awaitable[object], reason: Reason, *words: str) -> None:
    with pytest.raises(Refused) as refusal:
        await work
    assert refusal.value.reason is reason
    assert all(word in refusal.value.message for word in words), refusal.value.message


async def test_a_refund_names_the_entry_that_it_reverses(house: House) -> None:
    event = build_event()
    await settle(house, event)
    await refund(house, event.attempt_id)
    base, back = await house.ledger.rows("billing_events", "id")
    assert (back["kind"], back["amount_pusd"], back["corrects"]) == ("refund", -65, base["id"])
    assert (back["workspace_id"], back["user_id"], back["virtual_key_id"]) == (WORKSPACE, USER, KEY)
    assert (back["actor_kind"], back["actor_id"], back["reason"]) == (AUTHOR.kind, AUTHOR.id, AUTHOR.reason)
    assert back["occurred_at"] == base["occurred_at"]
    await assert_agreement(house)


async def test_never_more_than_is_still_owed(house: House) -> None:
    event = build_event()
    await settle(house, event)
    await refused(refund(house, event.attempt_id, 66), Reason.BAD_VALUE, "0.000000000066 USD is more", "0.000000000065")
    await refund(house, event.attempt_id, 60)
    await refused(refund(house, event.attempt_id, 6), Reason.BAD_VALUE, "0.000000000005")
    await refund(house, event.attempt_id)
    await refused(refund(house, event.attempt_id), Reason.CONFLICT, "0.000000000065 USD charged", "refunded")
    assert sum(amount for _, amount in await house.entries()) == 0


async def test_two_refunds_at_once_give_back_once(house: House) -> None:
    event = build_event()
    await settle(house, event)
    done = await asyncio.gather(*(refund(house, event.attempt_id, 40) for _ in range(2)), return_exceptions=True)
    assert sum(isinstance(one, Refused) for one in done) == 1
    assert sum(amount for _, amount in await house.entries()) == 25


async def test_an_attempt_that_may_still_be_settled_is_not_refunded_yet(house: House) -> None:
    event = build_event(outcome="abandoned", usage_source="estimated")
    await settle(house, event)
    await refused(refund(house, event.attempt_id), Reason.CONFLICT, "abandoned", "48 hours")
    await refund(house, event.attempt_id, later=timedelta(hours=49))
    assert sum(amount for _, amount in await house.entries()) == 0


async def test_nothing_charged_nothing_refunded(house: House) -> None:
    event = build_event(**UNPRICED)
    await settle(house, event)
    await refused(refund(house, event.attempt_id), Reason.CONFLICT, "Nothing was ever charged")
    await refused(refund(house, new_id()), Reason.NOT_FOUND)
    await refused(refund(house, UUID(int=2**128 - 1)), Reason.NOT_FOUND)


async def test_a_charge_that_falls_below_its_refund(house: House) -> None:
    event = build_event(raw_usage=RAW)
    await settle(house, event)
    await refund(house, event.attempt_id)
    await house.price(input=1, output=1)
    await house.everything()
    assert await house.entries() == [("usage", 65), ("refund", -65), ("adjustment", -50), ("refund", 50)]
    *_, grant, _, taken_back = await house.ledger.rows("billing_events", "id")
    assert taken_back["corrects"] == grant["id"]
    await house.price(input=3, output=7)
    await house.everything()
    assert sum(amount for _, amount in await house.entries()) == 0  # as before: it was refunded
    await house.price(input=4, output=9)
    await house.everything()
    assert sum(amount for _, amount in await house.entries()) == 85 - 65  # what came on top was not
    await assert_agreement(house)


async def test_a_credit_needs_no_attempt(house: House) -> None:
    async def credit(workspace_id: UUID) -> Entry:
        async with house.pool.acquire() as db, db.transaction():
            return await giving_back.credit(db, workspace_id, 500, AUTHOR, now=house.now, new_id=new_id)

    await credit(WORKSPACE)
    (row,) = await house.ledger.rows("billing_events")
    assert (row["kind"], row["amount_pusd"], row["corrects"], row["attempt_id"]) == ("credit", -500, None, None)
    await refused(credit(UUID(int=77)), Reason.NOT_FOUND)


async def test_a_refund_waits_for_who_writes_the_shard(house: House) -> None:
    event = build_event()
    await settle(house, event)
    async with house.pool.acquire() as db, db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(1819305063, 0)")
        waiting = asyncio.create_task(refund(house, event.attempt_id))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    assert (await waiting).amount_pusd == -65
