"""Each script's contract, on a real Valkey."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from proxy.holds.away import ErrorReply
from proxy.holds.client import RENEW_MOST, AdmitReply, Holds
from proxy.settlement.usage_event import encode
from proxy.wire.ids import NIL
from tests.held import EPOCHS, SHARD, WORKSPACE, Seen, event_of, new_attempt, stub_of

KNOWN = (EPOCHS[WORKSPACE], EPOCHS[NIL])


async def admit(holds: Holds, attempt_id: UUID, *, epochs: tuple[int, int] = KNOWN, again: bool = False) -> AdmitReply:
    return await holds.admit(holds.scope(SHARD, WORKSPACE), attempt_id, stub_of(attempt_id), *epochs, again=again)


async def lapse(seen: Seen, attempt_id: UUID) -> None:
    """The lease ended a while ago."""
    value = await seen.redis.hget(f"{{s{SHARD}}}:holds", attempt_id.hex)
    await seen.redis.hset(f"{{s{SHARD}}}:holds", attempt_id.hex, b"1000|" + value.split(b"|", 1)[1])


# admit


async def test_admit_writes_the_hold_with_a_lease_by_the_servers_clock(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    before = await seen.now_ms()
    reply = await admit(seeded, attempt_id)
    after = await seen.now_ms()
    assert reply.kind == "held"
    assert before <= reply.time_ms <= after
    lease_end, stub = (await seen.holds())[attempt_id]
    assert lease_end == reply.time_ms + 120_000
    assert stub.startswith(b'{"attempt_id":"' + str(attempt_id).encode())
    assert await seen.entries() == []


async def test_a_repeated_admit_is_one_hold(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    assert (await admit(seeded, attempt_id)).kind == "held"
    assert (await admit(seeded, attempt_id)).kind == "held"
    assert list(await seen.holds()) == [attempt_id]


async def test_without_gen_a_shard_is_cold(holds: Holds, seen: Seen) -> None:
    assert (await admit(holds, new_attempt())).kind == "cold"
    assert await seen.holds() == {}


async def test_what_is_in_flight_is_announced_again_to_a_cold_shard(holds: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    assert (await admit(holds, attempt_id, again=True, epochs=(0, 0))).kind == "held"
    assert attempt_id in await seen.holds()


@pytest.mark.parametrize(
    ("known", "kind"),
    [((4, 7), "held"), ((3, 7), "stale"), ((4, 6), "stale"), ((5, 7), "held"), ((4, 8), "held")],
    ids=["same", "workspace behind", "global behind", "workspace ahead of redis", "global ahead of redis"],
)
async def test_epochs(seeded: Holds, seen: Seen, known: tuple[int, int], kind: str) -> None:
    reply = await admit(seeded, new_attempt(), epochs=known)
    assert reply.kind == kind
    assert (reply.workspace_epoch, reply.global_epoch) == ((4, 7) if kind == "stale" else (None, None))
    assert len(await seen.holds()) == (kind == "held")


@pytest.mark.parametrize("scope", [WORKSPACE.hex, "global"])
async def test_a_missing_epoch_is_stale(seeded: Holds, seen: Seen, scope: str) -> None:
    await seen.redis.delete(f"{{s{SHARD}}}:epoch:{scope}")
    reply = await admit(seeded, new_attempt())
    assert reply.kind == "stale"
    assert (reply.workspace_epoch, reply.global_epoch) == ((None, 7) if scope != "global" else (4, None))


async def test_epochs_that_went_up_are_packed_anew(seeded: Holds, seen: Seen) -> None:
    assert (await admit(seeded, new_attempt())).kind == "held"
    await seen.redis.set(f"{{s{SHARD}}}:epoch:{WORKSPACE.hex}", 5)
    assert (await admit(seeded, new_attempt())).kind == "stale"
    assert (await admit(seeded, new_attempt(), epochs=(5, 7))).kind == "held"


async def test_workspaces_and_shards_do_not_meet(seeded: Holds, seen: Seen) -> None:
    other = uuid4()
    reply = await seeded.admit(seeded.scope(SHARD, other), new_attempt(), b"{}", *KNOWN)
    assert (reply.kind, reply.workspace_epoch) == ("stale", None)
    assert (await seeded.admit(seeded.scope(SHARD + 1, WORKSPACE), new_attempt(), b"{}", *KNOWN)).kind == "cold"


# settle


async def test_settle_moves_the_hold_into_the_stream(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    event = encode(event_of(attempt_id))
    assert await seeded.settle(seeded.scope(SHARD, WORKSPACE), attempt_id, event) == "settled"
    assert await seen.holds() == {}
    assert await seen.entries() == [{b"v": b"1", b"e": event}]


async def test_settle_again_is_late(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    event = encode(event_of(attempt_id))
    await seeded.resend(SHARD, attempt_id, event)
    assert await seeded.resend(SHARD, attempt_id, event) == "late"
    assert await seen.entries() == [{b"v": b"1", b"e": event}, {b"v": b"1", b"e": event, b"l": b"1"}]


async def test_settle_after_a_flush_is_late_and_kept(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    await seen.redis.flushall()
    assert await seeded.resend(SHARD, attempt_id, encode(event_of(attempt_id))) == "late"
    assert await seen.outcomes() == {attempt_id: [("ok", True)]}


async def test_where_the_stream_cannot_grow_the_hold_stays(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    await seen.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(ErrorReply) as refused:
            await seeded.resend(SHARD, attempt_id, encode(event_of(attempt_id)))
    finally:
        await seen.redis.config_set("maxmemory", "256mb")
    assert refused.value.code == "OOM"
    assert list(await seen.holds()) == [attempt_id]
    assert await seen.entries() == []


# void


async def test_void_takes_back_without_an_event(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    assert await seeded.void(SHARD, attempt_id) is True
    assert await seeded.void(SHARD, attempt_id) is False
    assert await seen.holds() == {}
    assert await seen.entries() == []
    assert 86_000 < await seen.redis.ttl(f"{{s{SHARD}}}:swept:{attempt_id.hex}") <= 86_400


@pytest.mark.parametrize("again", [False, True])
async def test_an_admit_that_comes_after_its_void_is_refused(seeded: Holds, seen: Seen, again: bool) -> None:
    attempt_id = new_attempt()
    assert await seeded.void(SHARD, attempt_id) is False
    assert (await admit(seeded, attempt_id, again=again)).kind == "swept"
    assert await seen.holds() == {}


# renew


async def test_renew_rewrites_lease_ends_and_tells_what_is_missing(seeded: Holds, seen: Seen) -> None:
    here, lost, also_here = new_attempt(), new_attempt(), new_attempt()
    scope, elsewhere = seeded.scope(SHARD, WORKSPACE), seeded.scope(SHARD, uuid4())
    for attempt_id in (here, also_here):
        await admit(seeded, attempt_id)
        await lapse(seen, attempt_id)
    stubs = {attempt_id: stub for attempt_id, (_, stub) in (await seen.holds()).items()}
    renewed = await seeded.renew(SHARD, [(here, scope), (lost, elsewhere), (also_here, scope)])
    assert renewed.missing == [lost]
    assert renewed.epochs == {WORKSPACE: 4, elsewhere.workspace_id: None}
    assert (renewed.global_epoch, renewed.gen) == (7, "gen-1")
    assert await seen.holds() == {
        attempt_id: (renewed.time_ms + 120_000, stubs[attempt_id]) for attempt_id in (here, also_here)
    }


async def test_renew_keeps_a_stub_with_bars_in_it(seeded: Holds, seen: Seen) -> None:
    attempt_id, scope = new_attempt(), seeded.scope(SHARD, WORKSPACE)
    await seeded.admit(scope, attempt_id, b'{"llm":"a|b|c\\n"}', *KNOWN)
    await seeded.renew(SHARD, [(attempt_id, scope)])
    assert (await seen.holds())[attempt_id][1] == b'{"llm":"a|b|c\\n"}'


async def test_renew_does_not_need_a_gen(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    await seen.redis.flushall()
    renewed = await seeded.renew(SHARD, [(attempt_id, seeded.scope(SHARD, WORKSPACE))])
    assert (renewed.missing, renewed.gen, renewed.global_epoch, renewed.epochs) == (
        [attempt_id],
        None,
        None,
        {WORKSPACE: None},
    )


async def test_renew_takes_its_most_and_not_more(seeded: Holds, seen: Seen) -> None:
    scope = seeded.scope(SHARD, WORKSPACE)
    attempts = [(new_attempt(), scope) for _ in range(RENEW_MOST)]
    await asyncio.gather(*(admit(seeded, attempt_id) for attempt_id, _ in attempts))
    assert (await seeded.renew(SHARD, attempts)).missing == []
    with pytest.raises(ValueError, match="at most"):
        seeded.renew(SHARD, [*attempts, (new_attempt(), scope)])


# sweep


async def test_sweep_writes_the_stub_and_leaves_a_tombstone(seeded: Holds, seen: Seen) -> None:
    dead, alive = new_attempt(), new_attempt()
    for attempt_id in (dead, alive):
        await admit(seeded, attempt_id)
    await lapse(seen, dead)
    stub = (await seen.holds())[dead][1]
    assert await seeded.sweep(SHARD) == [dead]
    assert await seeded.sweep(SHARD) == []
    assert list(await seen.holds()) == [alive]
    assert await seen.entries() == [{b"v": b"1", b"e": stub}]
    assert 86_000 < await seen.redis.ttl(f"{{s{SHARD}}}:swept:{dead.hex}") <= 86_400


async def test_a_swept_attempt_settles_late_and_is_not_announced_again(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    await lapse(seen, attempt_id)
    await seeded.sweep(SHARD)
    assert (await admit(seeded, attempt_id, again=True)).kind == "swept"
    assert await seeded.resend(SHARD, attempt_id, encode(event_of(attempt_id))) == "late"
    assert await seen.outcomes() == {attempt_id: [("abandoned", False), ("ok", True)]}


async def test_a_lease_renewed_after_it_was_found_is_not_swept(seeded: Holds, seen: Seen) -> None:
    """The script looks again: between the scan and the sweep its gateway may have come back."""
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    assert await seeded._sweep(SHARD, [attempt_id.hex.encode(), new_attempt().hex.encode()]) == []
    assert attempt_id in await seen.holds()


async def test_an_unreadable_hold_is_handed_over_as_it_is(seeded: Holds, seen: Seen) -> None:
    attempt_id = new_attempt()
    await seen.redis.hset(f"{{s{SHARD}}}:holds", attempt_id.hex, "of another version")
    assert await seeded.sweep(SHARD) == [attempt_id]
    assert await seen.entries() == [{b"v": b"1", b"e": b"of another version"}]
    assert await seen.redis.hlen(f"{{s{SHARD}}}:holds") == 0


async def test_sweep_finds_all_of_many(seeded: Holds, seen: Seen) -> None:
    """More than one step of the scan and more than one call of the script."""
    dead = {new_attempt() for _ in range(1_300)}
    await asyncio.gather(*(admit(seeded, attempt_id) for attempt_id in dead))
    await seen.redis.hset(
        f"{{s{SHARD}}}:holds", mapping={attempt_id.hex: b"5|" + stub_of(attempt_id) for attempt_id in dead}
    )
    alive = new_attempt()
    await admit(seeded, alive)
    assert set(await seeded.sweep(SHARD)) == dead
    assert list(await seen.holds()) == [alive]
    assert {attempt_id: [("abandoned", False)] for attempt_id in dead} == await seen.outcomes()


# seed


async def test_seed_sets_gen_and_all_epochs(holds: Holds) -> None:
    seeded = await holds.seed(SHARD, "gen-1", EPOCHS)
    assert (seeded.gen, seeded.set_here, seeded.raised) == ("gen-1", True, 2)
    assert await holds.check(holds.scope(SHARD, WORKSPACE)) == ("gen-1", 4, 7)
    assert await holds.gen(SHARD) == "gen-1"
    assert await holds.gen(SHARD + 1) is None


async def test_a_seeded_shard_is_left_alone(seeded: Holds) -> None:
    reply = await seeded.seed(SHARD, "gen-2", {WORKSPACE: 9, NIL: 9})
    assert (reply.gen, reply.set_here, reply.raised) == ("gen-1", False, 0)
    assert await seeded.check(seeded.scope(SHARD, WORKSPACE)) == ("gen-1", 4, 7)


async def test_the_check_of_a_seeded_shard_raises_what_is_behind(seeded: Holds) -> None:
    reply = await seeded.seed(SHARD, "gen-2", {WORKSPACE: 9, NIL: 6}, check=True)
    assert (reply.gen, reply.set_here, reply.raised) == ("gen-1", False, 1)
    assert await seeded.check(seeded.scope(SHARD, WORKSPACE)) == ("gen-1", 9, 7)


async def test_seeding_never_lowers_an_epoch_published_meanwhile(holds: Holds, seen: Seen) -> None:
    await seen.redis.set(f"{{s{SHARD}}}:epoch:{WORKSPACE.hex}", 12)
    await holds.seed(SHARD, "gen-1", EPOCHS)
    assert await holds.check(holds.scope(SHARD, WORKSPACE)) == ("gen-1", 12, 7)


async def test_seed_takes_a_shard_of_many_workspaces(holds: Holds) -> None:
    assert (await holds.seed(SHARD, "gen-1", {uuid4(): 1 for _ in range(20_000)})).raised == 20_000


async def test_all_keys_of_a_script_are_in_one_slot_and_declared(seeded: Holds, seen: Seen) -> None:
    """Whatever the scripts touch begins with the tag of the shard: what Redis Cluster asks."""
    attempt_id = new_attempt()
    await admit(seeded, attempt_id)
    await seeded.resend(SHARD, attempt_id, b"{}")
    await seeded.void(SHARD, attempt_id)
    assert {key.split(b":")[0] for key in await seen.redis.keys()} == {b"{s%d}" % SHARD}


async def test_time(holds: Holds, seen: Seen) -> None:
    before = await seen.now_ms()
    assert before <= await holds.time_ms() <= await seen.now_ms()


def test_scopes_are_made_once() -> None:
    holds = Holds(bus=None)  # type: ignore[arg-type]
    assert holds.scope(1, WORKSPACE) is holds.scope(1, WORKSPACE)
    assert holds.scope(2, WORKSPACE) is not holds.scope(1, WORKSPACE)
