"""A master key against a database: its own, another's, and one that came while the process ran."""

from __future__ import annotations

import pytest

from proxy.storage.postgres import Pool
from proxy.vault import store
from proxy.vault.keyring import Keyring, claim
from proxy.vault.master import MasterKey, MasterKeyError
from proxy.vault.rotate import retire, rotate
from tests.management import Deployment
from tests.proxy.vault.sealed import VALUE, opened_by, somebodys_key

OLD, NEW = MasterKey(b"o" * 32), MasterKey(b"n" * 32)


async def test_the_first_one_claims_the_database_and_no_other_opens_it(pool: Pool) -> None:
    async with pool.acquire() as db:
        assert await Keyring(OLD).load(db) is False
        first = await claim(db, OLD)
        assert first.hash_key == OLD.hash_key
        again = await claim(db, OLD)
        assert again.hash_key == OLD.hash_key
        for refused in (Keyring(NEW).load(db), claim(db, NEW)):
            with pytest.raises(MasterKeyError, match=f"{NEW.key_id.hex()}.*{OLD.key_id.hex()}"):
                await refused
        assert len(await store.master_keys(db)) == 1


async def test_a_database_from_before_the_table_is_claimed_by_who_sealed_in_it(deployment: Deployment) -> None:
    """Not by whoever comes first: that one would lock the owner out."""
    deployment.vault = (own := Keyring(OLD)).vault
    await somebodys_key(deployment)
    async with deployment.pool.acquire() as db:
        with pytest.raises(MasterKeyError, match=OLD.key_id.hex()):
            await claim(db, NEW)
        assert await store.master_keys(db) == []
        await claim(db, OLD)
        assert await own.load(db)


async def test_the_same_id_by_chance_is_not_the_same_key(pool: Pool) -> None:
    async with pool.acquire() as db:
        await claim(db, OLD)
        twin = MasterKey(b"t" * 32)
        twin.key_id = OLD.key_id
        with pytest.raises(MasterKeyError, match="not the one of this database"):
            await Keyring(twin).load(db)


async def test_a_rotation_while_a_process_runs_is_learnt_when_it_is_met(deployment: Deployment) -> None:
    """The process holds the old master key; what the new one sealed opens at once, without a restart."""
    async with deployment.pool.acquire() as db:
        running = await claim(db, OLD)
        deployment.vault = running.vault
        who = await somebodys_key(deployment)
        before = await running.usable(db, workspace_id=who.workspace_id, user_id=who.user_id)
        async with db.transaction():
            await rotate(db, OLD, NEW)
        # What it had in its cache opens still; what it loads now, too.
        assert opened_by(running.vault, who, before[0].sealed) == VALUE
        [after] = await running.usable(db, workspace_id=who.workspace_id, user_id=who.user_id)
        assert after.sealed != before[0].sealed and opened_by(running.vault, who, after.sealed) == VALUE
        # From now on it seals with the new one, and a process that was started with that one opens it.
        restarted = Keyring(NEW)
        await restarted.load(db)
        fresh = running.vault.seal(VALUE, workspace_id=who.workspace_id, provider=who.provider, row_id=who.id)
        assert fresh[1:5] == NEW.key_id and opened_by(restarted.vault, who, fresh) == VALUE
        assert restarted.hash_key == running.hash_key == OLD.hash_key


async def test_after_the_retirement_the_old_one_opens_nothing(deployment: Deployment) -> None:
    async with deployment.pool.acquire() as db:
        running = await claim(db, OLD)
        deployment.vault = running.vault
        who = await somebodys_key(deployment)
        async with db.transaction():
            await rotate(db, OLD, NEW)
            await retire(db, NEW)
        with pytest.raises(MasterKeyError, match="not the one of this database"):
            await Keyring(OLD).load(db)
        # One that still runs is not thrown out of its requests by it: /health/ready tells (`load`).
        assert len(await running.usable(db, workspace_id=who.workspace_id, user_id=who.user_id)) == 1
        with pytest.raises(MasterKeyError):
            await running.load(db)
