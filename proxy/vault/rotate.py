"""Another master key for a database that lives on. Each step in the caller's transaction: it is done or it is not.

rotate   enters the new key beside the old one and seals every variable anew; both are accepted from then on
retire   what the old key still seals is sealed anew, and the old key is accepted no longer
reset    the old key is lost: only the new one is accepted, and what was sealed or hashed stays closed
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from proxy.storage.postgres import Connection
from proxy.vault import store
from proxy.vault.keyring import opened
from proxy.vault.master import MasterKey, MasterKeyError
from proxy.vault.ring import Ring
from proxy.vault.seal import SealBroken, Vault

PAGE = 500


class Resealed(NamedTuple):
    """`broken`: ids of variables that open with no key of the ring. They are left as they are."""

    variables: int
    broken: list[UUID]


class Retired(NamedTuple):
    resealed: Resealed
    key_ids: list[bytes]


async def rotate(db: Connection, old: MasterKey, new: MasterKey) -> Resealed:
    """Safe to repeat: what is sealed with the new key already is left. Raises `MasterKeyError`."""
    if old.key_id == new.key_id:
        raise MasterKeyError("the new master key is the old one")
    await store.lock_master_keys(db)
    stored = await store.master_keys(db)
    ring = opened(stored, old)
    others = {each.key_id for each in stored} - {old.key_id, new.key_id}
    if others:
        raise MasterKeyError(
            f"an earlier master key (id {', '.join(sorted(each.hex() for each in others))}) is still accepted, and what "
            "a new one seals would stay closed to it. Run `synapscale master-key retire` first"
        )
    if any(each.key_id == new.key_id for each in stored):
        opened(stored, new)
    ring = ring.plus(new)
    await store.put_master_key(db, new.key_id, ring.sealed(new), current=True)
    await store.put_master_key(db, old.key_id, ring.sealed(old), current=False)
    return await _reseal(db, ring, new)


async def retire(db: Connection, master: MasterKey) -> Retired:
    """Raises `MasterKeyError` where `master` is not the current one: it would lock itself out."""
    await store.lock_master_keys(db)
    stored = await store.master_keys(db)
    ring = opened(stored, master)
    if not any(each.key_id == master.key_id and each.state == "current" for each in stored):
        raise MasterKeyError(
            f"this master key (id {master.key_id.hex()}) is the one that would be retired. Give the new one "
            "(SYNAPSCALE_MASTER_KEY or master_key_file)"
        )
    return Retired(await _reseal(db, ring, master), await store.retire_previous(db))


async def reset(db: Connection, new: MasterKey) -> int:
    """Returns how many variables nobody can open any more. Every virtual and management key needs a rotation."""
    await store.lock_master_keys(db)
    await store.forget_master_keys(db)
    await store.put_master_key(db, new.key_id, Ring.first(new).sealed(new), current=True)
    return sum(count for key_id, count in (await store.sealed_by(db)).items() if key_id != new.key_id)


async def _reseal(db: Connection, ring: Ring, master: MasterKey) -> Resealed:
    vault = Vault(master)
    vault.learn(ring.sealing, current=master.key_id)
    done, broken, after = 0, list[UUID](), None
    while page := await store.otherwise_sealed(db, vault.head, after=after, limit=PAGE):
        sealed = []
        for each in page:
            try:
                sealed.append((each.id, _anew(vault, each)))
            except SealBroken:
                broken.append(each.id)
        await store.reseal(db, sealed)
        done, after = done + len(sealed), page[-1].id
    return Resealed(done, broken)


def _anew(vault: Vault, each: store.Otherwise) -> bytes:
    """Raises `SealBroken`."""
    plaintext = vault.open(each.sealed, workspace_id=each.workspace_id, provider=each.provider, row_id=each.id)
    return vault.seal(plaintext, workspace_id=each.workspace_id, provider=each.provider, row_id=each.id)
