"""What a master key opens: the key of the hashes and every sealing key. One copy per accepted master key, sealed with it.

So a process that holds any of them opens all that is sealed, and a new master key changes no hash: keys that clients
hold go on working. A copy that opens also proves that a master key is this database's. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.vault.master import MasterKey
from proxy.vault.seal import SealBroken

VERSION = 1
_NONCE_BYTES = 12


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """The plaintext, as JSON; bytes in base64, key ids in hex."""

    hash_key: bytes
    sealing: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Ring:
    """`sealing`: key id → sealing key."""

    hash_key: bytes = field(repr=False)
    sealing: Mapping[bytes, bytes] = field(repr=False)

    @classmethod
    def first(cls, master: MasterKey) -> Ring:
        """Of a database that knows no other."""
        return cls(master.hash_key, {master.key_id: master.sealing_key})

    def plus(self, master: MasterKey) -> Ring:
        return Ring(self.hash_key, {**self.sealing, master.key_id: master.sealing_key})

    def sealed(self, master: MasterKey) -> bytes:
        written = _Written(self.hash_key, {each.hex(): key for each, key in self.sealing.items()})
        nonce = os.urandom(_NONCE_BYTES)
        place = _place(master.key_id)
        return _head() + nonce + AESGCM(master.ring_key).encrypt(nonce, msgspec.json.encode(written), place)

    @classmethod
    def opened(cls, sealed: bytes, master: MasterKey) -> Ring:
        """Raises `SealBroken` where another master key sealed it."""
        if not sealed.startswith(_head()):
            raise SealBroken("a ring of a version that is not known here")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            written = msgspec.json.decode(AESGCM(master.ring_key).decrypt(nonce, rest, _place(master.key_id)), type=_Written)
        except (InvalidTag, ValueError) as error:  # ValueError: cut short; msgspec's errors are ones
            raise SealBroken("not this master key's ring, or damaged") from error
        return cls(written.hash_key, {bytes.fromhex(each): key for each, key in written.sealing.items()})


def _head() -> bytes:
    return bytes([VERSION])


def _place(key_id: bytes) -> bytes:
    return _head() + b"ring of " + key_id
