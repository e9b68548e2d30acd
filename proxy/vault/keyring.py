"""The master key that a process was given, held against the database: does it open it, and what does it open?"""

from __future__ import annotations

import logging
from uuid import UUID

from proxy.storage.postgres import Connection
from proxy.vault import store
from proxy.vault.master import MasterKey, MasterKeyError
from proxy.vault.ring import Ring
from proxy.vault.seal import SealBroken, Vault
from proxy.vault.store import Sealed

_log = logging.getLogger(__name__)


class Keyring:
    """`vault` opens all that this database holds sealed, `hash_key` is that of its keys' hashes; both after `load`.

    A rotation while this process runs adds a sealing key: whoever meets a blob of an unknown one asks the table again
    (`usable`), and this master key's copy of the ring holds it. So nothing has to be restarted before its time.
    """

    def __init__(self, master: MasterKey) -> None:
        self.master = master
        self.vault = Vault(master)
        self._ring: Ring | None = None

    @property
    def hash_key(self) -> bytes:
        return self.ring.hash_key

    @property
    def ring(self) -> Ring:
        if self._ring is None:
            raise RuntimeError("the keyring was not loaded")
        return self._ring

    async def load(self, db: Connection) -> bool:
        """False: no master key is entered yet (`claim` does that). Raises `MasterKeyError` for one that is not accepted."""
        stored = await store.master_keys(db)
        if not stored:
            return False
        self._ring = opened(stored, self.master)
        self.vault.learn(self._ring.sealing, current=next(each.key_id for each in stored if each.state == "current"))
        return True

    async def usable(self, db: Connection, *, workspace_id: UUID, user_id: UUID) -> list[Sealed]:
        """As `store.usable`, and `vault` knows the keys that sealed them."""
        found = await store.usable(db, workspace_id=workspace_id, user_id=user_id)
        if not all(self.vault.knows(each.sealed) for each in found):
            try:
                await self.load(db)
            except MasterKeyError as wrong:  # calls with another key, or none, are not its business
                _log.error("own provider keys cannot be opened: %s", wrong)
        return found


async def claim(db: Connection, master: MasterKey) -> Keyring:
    """For whoever prepares a database: the first master key is entered. Raises `MasterKeyError`."""
    keyring = Keyring(master)
    async with db.transaction():
        await store.lock_master_keys(db)
        if not await keyring.load(db):
            # A database from before `master_keys`: what is sealed in it says by whom.
            strangers = await store.sealers(db) - {master.key_id}
            if strangers:
                raise wrong_key(sorted(strangers), master)
            await store.put_master_key(db, master.key_id, Ring.first(master).sealed(master), current=True)
            await keyring.load(db)
    return keyring


def opened(stored: list[store.StoredMasterKey], master: MasterKey) -> Ring:
    """Raises `MasterKeyError`."""
    for each in stored:
        if each.key_id == master.key_id:
            try:
                return Ring.opened(each.ring, master)
            except SealBroken:  # the same id by chance (one in 4 billion), or a damaged row
                break
    raise wrong_key([each.key_id for each in stored], master)


def wrong_key(known: list[bytes], master: MasterKey) -> MasterKeyError:
    return MasterKeyError(
        f"this master key (id {master.key_id.hex()}) is not the one of this database (id "
        f"{', '.join(each.hex() for each in known)}): it would open no provider key and know no virtual key. Set "
        "SYNAPSCALE_MASTER_KEY or master_key_file to the database's own; if that one is lost: `synapscale master-key "
        "reset` and docs/operations.md"
    )
