"""Whose an object is, told by one gateway and asked by another, on a real database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from proxy.objects import store
from proxy.objects.kinds import Account, Minted
from proxy.objects.objects import Objects
from proxy.objects.references import Reference
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused
from tests.gateway import until
from tests.proxy.objects.conftest import OPENAI, House, at, ref, response


async def refusal(call: Awaitable[object]) -> Refused:
    with pytest.raises(Refused) as refused:
        await call
    return refused.value


async def test_an_id_is_found_by_every_gateway_at_the_next_request(house: House) -> None:
    one, two, workspace = await house.gateway(), await house.gateway(), await house.workspace()
    for number in range(20):
        await one.record(workspace, OPENAI, [response(f"resp_{number}")])
        assert await two.owner_of(workspace, [ref(f"resp_{number}")]) == at(OPENAI)
        assert await one.owner_of(workspace, [ref(f"resp_{number}")]) == at(OPENAI)


async def test_it_is_committed_when_record_returns(house: House) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    batch = [[response(f"resp_{n}"), Minted("item", f"msg_{n}")] for n in range(50)]
    await asyncio.gather(*(one.record(workspace, OPENAI, each) for each in batch))
    assert await house.pool.fetchval("SELECT count(*) FROM provider_objects WHERE workspace_id = $1", workspace) == 100


async def test_anothers_id_and_nobodys_are_told_apart_by_nobody(house: House) -> None:
    one, two = await house.gateway(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await one.record(acme, OPENAI, [response("resp_1")])
    for gateway in (one, two):
        foreign = await refusal(gateway.owner_of(rival, [ref("resp_1")]))
        nobodys = await refusal(gateway.owner_of(rival, [ref("resp_2")]))
        assert (foreign.status, foreign.param) == (404, "previous_response_id")
        assert foreign.body().replace(b"resp_1", b"resp_2") == nobodys.body()


async def test_an_id_of_another_kind_is_another_object(house: House) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    await one.record(workspace, OPENAI, [response("x_1")])
    assert (await refusal(one.owner_of(workspace, [ref("x_1", "file")]))).reason is Reason.NOT_FOUND


async def test_the_first_owner_of_an_id_keeps_it(house: House) -> None:
    """A provider that lets clients choose ids (vLLM's request_id) must not give away what is another's."""
    one, two = await house.gateway(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await one.record(acme, OPENAI, [response("resp_1")])
    await two.record(rival, OPENAI, [response("resp_1"), response("resp_2")])
    assert two.taken == 1
    for gateway in (one, two):
        assert await gateway.owner_of(acme, [ref("resp_1")]) == at(OPENAI)
        assert await gateway.owner_of(rival, [ref("resp_2")]) == at(OPENAI)
        assert (await refusal(gateway.owner_of(rival, [ref("resp_1")]))).status == 404


async def test_two_claims_in_one_batch(house: House) -> None:
    one = await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await asyncio.gather(one.record(acme, OPENAI, [response("r")]), one.record(rival, OPENAI, [response("r")]))
    assert await one.owner_of(acme, [ref("r")]) == at(OPENAI)
    assert (await refusal(one.owner_of(rival, [ref("r")]))).status == 404


async def test_the_same_id_at_two_accounts_is_two_objects(house: House) -> None:
    one, two, workspace = await house.gateway(), await house.gateway(), await house.workspace()
    rival = await house.workspace("rival")
    own, azure = Account("openai", UUID(int=7)), Account("azure")
    await one.record(rival, OPENAI, [Minted("file", "f")])
    await one.record(workspace, own, [Minted("file", "f"), Minted("file", "g")])
    await one.record(workspace, azure, [Minted("file", "f")])
    for gateway in (one, two):
        assert set((await gateway.owner_of(workspace, [ref("f", "file")])).accounts) == {own, azure}  # type: ignore[union-attr]
        assert await gateway.owner_of(workspace, [ref("f", "file"), ref("g", "file")]) == at(own)
        assert await gateway.owner_of(rival, [ref("f", "file")]) == at(OPENAI)


async def test_objects_that_no_single_account_has(house: House) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    await one.record(workspace, OPENAI, [response("resp_1")])
    await one.record(workspace, Account("azure"), [Minted("file", "f")])
    refused = await refusal(one.owner_of(workspace, [ref("resp_1"), Reference("file", "f", "input[0].file_id")]))
    assert (refused.reason, refused.param) == (Reason.BAD_VALUE, "input[0].file_id")


async def test_items_that_bring_their_content(house: House) -> None:
    one, two = await house.gateway(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await one.record(acme, OPENAI, [Minted("item", "msg_1")])
    for gateway in (one, two):
        assert await gateway.owner_of(rival, [ref("msg_9", "item", inline=True)]) is None
        assert await gateway.owner_of(acme, [ref("msg_1", "item", inline=True)]) is None  # any route may take it
        assert (await refusal(gateway.owner_of(rival, [ref("msg_1", "item", inline=True)]))).status == 404
        assert (await refusal(gateway.owner_of(rival, [ref("msg_9", "item")]))).status == 404


async def test_what_is_remembered_is_not_asked_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    await one.record(workspace, OPENAI, [response("resp_1"), Minted("item", "rs_1", stored=False)])
    await one.owner_of(workspace, [ref("msg_1", "item", inline=True)])

    async def asked(*what: object, **more: object) -> None:
        raise AssertionError(more)

    monkeypatch.setattr(store, "find", asked)
    wanted = [ref("resp_1"), ref("msg_1", "item", inline=True), ref("rs_1", "item", inline=True)]
    assert await one.owner_of(workspace, wanted) == at(OPENAI)
    assert await one.owner_of(workspace, []) is None


async def test_unknown_is_believed_for_a_second_only(house: House) -> None:
    one, two, workspace = await house.gateway(), await house.gateway(), await house.workspace()
    assert (await refusal(two.owner_of(workspace, [ref("resp_1")]))).status == 404
    await one.record(workspace, OPENAI, [response("resp_1")])
    house.clock.advance(1.0)
    assert await two.owner_of(workspace, [ref("resp_1")]) == at(OPENAI)
    # Told here, it is known here at once.
    assert (await refusal(two.owner_of(workspace, [ref("resp_2")]))).status == 404
    await two.record(workspace, OPENAI, [response("resp_2")])
    assert await two.owner_of(workspace, [ref("resp_2")]) == at(OPENAI)


async def test_a_record_that_overtakes_a_lookup_is_the_newer_truth(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    find = store.find

    async def overtaken(db: Connection, **asked: Any) -> list[store.Found]:
        rows = await find(db, **asked)
        monkeypatch.setattr(store, "find", find)
        await one.record(workspace, OPENAI, [response("resp_1")])
        return rows

    monkeypatch.setattr(store, "find", overtaken)
    assert await one.owner_of(workspace, [ref("resp_1")]) == at(OPENAI)


async def test_what_was_deleted_is_gone_everywhere(house: House) -> None:
    one, two, three = await house.gateway(), await house.gateway(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await one.record(acme, OPENAI, [Minted("file", "f")])
    await two.forget(rival, OPENAI, ref("f", "file"))
    assert await three.owner_of(acme, [ref("f", "file")]) == at(OPENAI)
    await one.forget(acme, OPENAI, ref("f", "file"))
    for gateway in (one, two):
        assert (await refusal(gateway.owner_of(acme, [ref("f", "file")]))).status == 404
    # A batch goes on naming its deleted output file.
    await one.record(acme, OPENAI, [Minted("file", "f")])
    assert (await refusal(one.owner_of(acme, [ref("f", "file")]))).status == 404


async def test_expired_is_unknown_and_a_use_prolongs(house: House) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    await one.record(workspace, OPENAI, [response("old"), response("used")])
    await house.pool.execute(
        "UPDATE provider_objects SET last_used_at = now() - interval '2 h', expires_at = now() + interval '1 day'"
    )
    two = Objects(house.pool, house.clock)
    two.start()
    await two.owner_of(workspace, [ref("used")])
    await two.stop(5.0)  # uses are written at leisure, and at the end
    days = "SELECT extract(day FROM expires_at - now()) FROM provider_objects WHERE object_id = $1"
    assert [await house.pool.fetchval(days, id) for id in ("old", "used")] == [0, 34]
    await house.pool.execute("UPDATE provider_objects SET expires_at = now() WHERE object_id = 'old'")
    three = await house.gateway()
    assert (await refusal(three.owner_of(workspace, [ref("old")]))).status == 404
    await three.record(workspace, OPENAI, [response("old")])
    assert await (await house.gateway()).owner_of(workspace, [ref("old")]) == at(OPENAI)


async def test_lists_of_a_whole_account_are_cut_to_ones_own(house: House) -> None:
    one, two = await house.gateway(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await one.record(acme, OPENAI, [Minted("file", "a"), Minted("file", "b")])
    await one.record(rival, OPENAI, [Minted("file", "c")])
    for gateway in (one, two):
        assert await gateway.owned(acme, OPENAI, "file", ["a", "b", "c", "d", "../x"]) == {"a", "b"}
        assert await gateway.owned(acme, Account("azure"), "file", ["a"]) == frozenset()


# ---- Postgres away


async def test_answers_go_on_and_their_ids_are_written_later(house: House) -> None:
    one, two, workspace = await house.cut_off(), await house.gateway(), await house.workspace()
    house.line.refuse()
    await one.record(workspace, OPENAI, [response("resp_1")])
    await one.record(workspace, OPENAI, [response("resp_2")])
    assert await one.owner_of(workspace, [ref("resp_1"), ref("resp_2")]) == at(OPENAI)
    away = await refusal(one.owner_of(workspace, [ref("resp_3")]))
    assert (away.status, away.retry_after_s) == (503, 1)
    house.line.accept()
    await arrived(house, 2)
    assert await two.owner_of(workspace, [ref("resp_1"), ref("resp_2")]) == at(OPENAI)
    await one.record(workspace, OPENAI, [response("resp_3")])
    assert await two.owner_of(workspace, [ref("resp_3")]) == at(OPENAI)


async def test_items_with_their_content_do_not_need_postgres(house: House) -> None:
    one, workspace = await house.cut_off(), await house.workspace()
    house.line.refuse()
    assert await one.owner_of(workspace, [ref("msg_1", "item", inline=True)]) is None


async def test_a_commit_whose_answer_was_lost_is_one_row(house: House) -> None:
    one, workspace = await house.cut_off(), await house.workspace()
    for number in range(10):
        house.line.cut_after(random.Random(number).randrange(1, 900))
        await one.record(workspace, OPENAI, [response(f"resp_{number}")])
    await arrived(house, 10)


async def test_an_id_that_was_anothers_all_along_is_taken_back(house: House) -> None:
    one, two = await house.cut_off(), await house.gateway()
    acme, rival = await house.workspace("acme"), await house.workspace("rival")
    await two.record(acme, OPENAI, [response("resp_1")])
    house.line.refuse()
    await one.record(rival, OPENAI, [response("resp_1"), response("resp_2")])
    house.line.accept()
    await arrived(house, 2)
    await until(lambda: _said(lambda: one.taken == 1), "it is taken back")
    assert (await refusal(one.owner_of(rival, [ref("resp_1")]))).status == 404


async def test_more_than_can_wait_is_refused_before_it_costs(house: House) -> None:
    one, workspace = await house.cut_off(waiting_most=3), await house.workspace()
    one.require_room()
    house.line.refuse()
    await one.record(workspace, OPENAI, [response(f"resp_{n}") for n in range(3)])
    with pytest.raises(Refused) as refused:
        one.require_room()
    assert refused.value.status == 503
    # Those that had been sent before still fit; then it is the end.
    await one.record(workspace, OPENAI, [response(f"late_{n}") for n in range(3)])
    assert (await refusal(one.record(workspace, OPENAI, [response("resp_x")]))).status == 503
    house.line.accept()
    await arrived(house, 6)
    one.require_room()


async def test_a_row_that_can_never_be_written_does_not_stop_the_others(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    one, workspace = await house.gateway(), await house.workspace()
    nowhere = UUID(int=404)
    await asyncio.gather(
        one.record(nowhere, OPENAI, [response("lost")]), one.record(workspace, OPENAI, [response("kept")])
    )
    assert await (await house.gateway()).owner_of(workspace, [ref("kept")]) == at(OPENAI)
    assert "cannot be written" in caplog.text


async def test_a_client_that_leaves_does_not_take_its_ids_along(house: House) -> None:
    one, workspace = await house.cut_off(), await house.workspace()
    house.line.stall()
    task = asyncio.ensure_future(one.record(workspace, OPENAI, [response("resp_1")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    house.line.resume()
    await arrived(house, 1)


async def arrived(house: House, count: int) -> None:
    async def all_there() -> bool:
        found: int = await house.pool.fetchval("SELECT count(*) FROM provider_objects")
        return found == count

    await until(all_there, f"{count} rows")


async def _said(what: Callable[[], bool]) -> bool:
    return what()


# ---- whatever is interleaved


@pytest.mark.parametrize("seed", range(6))
async def test_no_workspace_ever_sees_anothers_id(house: House, seed: int) -> None:
    """Three workspaces, three gateways with little memory, few ids, two accounts: many at once claim, ask, list, delete."""
    chance = random.Random(seed)
    gateways = [await house.gateway(remembered=8) for _ in range(3)]
    workspaces = [await house.workspace(f"w{n}") for n in range(3)]
    accounts = [OPENAI, Account("openai", UUID(int=1))]
    names = [("response", f"r{n}") for n in range(8)] + [("file", f"r{n}") for n in range(8)]
    owner: dict[tuple[Account, str, str], UUID] = {}  # who recorded it first: nobody else may ever have it
    deleted: set[tuple[Account, str, str]] = set()
    claims: dict[tuple[Account, str, str], set[UUID]] = {}

    async def act() -> None:
        gateway, workspace, account = chance.choice(gateways), chance.choice(workspaces), chance.choice(accounts)
        kind, id = chance.choice(names)
        key = (account, kind, id)
        match chance.randrange(6):
            case 0:
                claims.setdefault(key, set()).add(workspace)
                await gateway.record(workspace, account, [Minted(kind, id)])
            case 1 if workspace == owner.get(key):
                await gateway.forget(workspace, account, ref(id, kind))
                deleted.add(key)
            case 2:
                for found in await gateway.owned(workspace, account, kind, [id, "r0", "r1"]):
                    assert workspace in claims[account, kind, found]
                    assert owner.get((account, kind, found), workspace) == workspace
            case _:
                inline = chance.random() < 0.3
                try:
                    found_owner = await gateway.owner_of(workspace, [ref(id, kind, inline=inline)])
                except Refused as refused:
                    assert refused.status == 404
                else:
                    for each in () if found_owner is None else found_owner.accounts:
                        assert workspace in claims[each, kind, id]
                        assert owner.get((each, kind, id), workspace) == workspace
        rows = await house.pool.fetch("SELECT * FROM provider_objects")
        for row in rows:
            account = Account(row["provider"], row["user_variable_id"])
            holder = owner.setdefault((account, row["kind"], row["object_id"]), row["workspace_id"])
            assert holder == row["workspace_id"]

    for _ in range(25):
        await asyncio.gather(*(act() for _ in range(8)))
        house.clock.advance(chance.choice([0, 0.5, 1.1]))
    assert len(set(owner.values())) == 3 and len(owner) > 16
    house.clock.advance(timedelta(hours=1).total_seconds())
    fresh = await house.gateway()
    for (account, kind, id), holder in owner.items():
        for workspace in workspaces:
            there = await fresh.owned(workspace, account, kind, [id])
            assert there == ({id} if workspace == holder and (account, kind, id) not in deleted else frozenset())
