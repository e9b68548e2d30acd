"""Another master key: every variable opens before, during and after, whatever is cut short."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from proxy.storage.postgres import Connection
from proxy.vault import rotate as module
from proxy.vault import store
from proxy.vault.keyring import Keyring, claim
from proxy.vault.master import MasterKey, MasterKeyError
from proxy.vault.rotate import reset, retire, rotate
from tests.management import Deployment
from tests.proxy.vault.sealed import VALUE, Whose, opened_by, somebodys_key

OLD, NEW, THIRD = MasterKey(b"o" * 32), MasterKey(b"n" * 32), MasterKey(b"3" * 32)


async def all_open(db: Connection, master: MasterKey, whose: list[Whose]) -> bool:
    keyring = Keyring(master)
    await keyring.load(db)
    for who in whose:
        [found] = await store.usable(db, workspace_id=who.workspace_id, user_id=who.user_id)
        if opened_by(keyring.vault, who, found.sealed) != VALUE:
            return False
    return True


async def begun(deployment: Deployment, count: int) -> list[Whose]:
    async with deployment.pool.acquire() as db:
        deployment.vault = (await claim(db, OLD)).vault
    return [await somebodys_key(deployment) for _ in range(count)]


async def test_both_keys_open_everything_until_the_old_one_is_retired(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)  # several pages
    whose = await begun(deployment, 5)
    async with deployment.pool.acquire() as db:
        async with db.transaction():
            done = await rotate(db, OLD, NEW)
        assert (done.variables, done.broken) == (5, [])
        assert await store.sealed_by(db) == {NEW.key_id: 5}
        assert await all_open(db, OLD, whose) and await all_open(db, NEW, whose)
        # A process that has not met the new key yet seals with the old one: nothing is lost by it.
        late = await somebodys_key(deployment)
        assert await store.sealed_by(db) == {NEW.key_id: 5, OLD.key_id: 1}
        assert await all_open(db, NEW, [*whose, late]) and await all_open(db, OLD, [*whose, late])
        async with db.transaction():
            retired = await retire(db, NEW)
        assert retired.key_ids == [OLD.key_id] and retired.resealed.variables == 1
        assert await store.sealed_by(db) == {NEW.key_id: 6}
        assert await all_open(db, NEW, [*whose, late])
        with pytest.raises(MasterKeyError):
            await all_open(db, OLD, whose)


async def test_cut_short_nothing_has_changed_and_again_changes_nothing_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    whose = await begun(deployment, 3)
    real, calls = store.reseal, 0

    async def dies(db: Connection, sealed: list[tuple[UUID, bytes]]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError("the line is cut")
        await real(db, sealed)

    async with deployment.pool.acquire() as db:
        monkeypatch.setattr(store, "reseal", dies)
        with pytest.raises(ConnectionError):
            async with db.transaction():
                await rotate(db, OLD, NEW)
        monkeypatch.setattr(store, "reseal", real)
        assert await store.sealed_by(db) == {OLD.key_id: 3} and await all_open(db, OLD, whose)
        with pytest.raises(MasterKeyError):
            await Keyring(NEW).load(db)
        for count in (3, 0):
            async with db.transaction():
                assert (await rotate(db, OLD, NEW)).variables == count
        assert await all_open(db, OLD, whose) and await all_open(db, NEW, whose)


async def test_two_at_once_end_with_one_current_key(deployment: Deployment) -> None:
    await begun(deployment, 2)

    async def one(new: MasterKey) -> bool:
        try:
            async with deployment.pool.acquire() as db, db.transaction():
                await rotate(db, OLD, new)
        except MasterKeyError:
            return False
        return True

    assert sorted(await asyncio.gather(one(NEW), one(THIRD))) == [False, True]
    async with deployment.pool.acquire() as db:
        assert sorted(each.state for each in await store.master_keys(db)) == ["current", "previous"]


async def test_what_is_refused(deployment: Deployment) -> None:
    await begun(deployment, 1)
    async with deployment.pool.acquire() as db:
        for old, new, why in ((OLD, OLD, "is the old one"), (NEW, THIRD, "not the one of this database")):
            with pytest.raises(MasterKeyError, match=why):
                async with db.transaction():
                    await rotate(db, old, new)
        async with db.transaction():
            await rotate(db, OLD, NEW)
        with pytest.raises(MasterKeyError, match="retire"):
            async with db.transaction():
                await rotate(db, NEW, THIRD)  # the oldest copy of the ring could not be written
        with pytest.raises(MasterKeyError, match="would be retired"):
            async with db.transaction():
                await retire(db, OLD)
        async with db.transaction():
            await rotate(db, NEW, OLD)  # back: it failed somewhere, and the old one is to stay
        assert {each.key_id: each.state for each in await store.master_keys(db)} == {
            OLD.key_id: "current", NEW.key_id: "previous",
        }


async def test_a_damaged_variable_is_named_and_left(deployment: Deployment) -> None:
    whose = await begun(deployment, 2)
    async with deployment.pool.acquire() as db:
        await store.reseal(db, [(whose[0].id, bytes([1]) + OLD.key_id + b"damaged")])
        async with db.transaction():
            done = await rotate(db, OLD, NEW)
        assert (done.variables, done.broken) == (1, [whose[0].id])
        assert await all_open(db, NEW, whose[1:])


async def test_a_lost_key(deployment: Deployment) -> None:
    await begun(deployment, 2)
    async with deployment.pool.acquire() as db:
        async with db.transaction():
            assert await reset(db, NEW) == 2
        keyring = Keyring(NEW)
        assert await keyring.load(db) and keyring.hash_key == NEW.hash_key
        with pytest.raises(MasterKeyError):
            await Keyring(OLD).load(db)
