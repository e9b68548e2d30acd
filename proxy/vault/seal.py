"""AES-256-GCM, bound to its place: what was sealed for one row opens in no other.

A blob is: version (1 byte), key id (4), nonce (12), ciphertext and tag. The associated data binds version and key id,
the kind of thing and every part of its address, each with its length, so that no two addresses spell the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.vault.master import KEY_ID_BYTES, MasterKey

VERSION = 1
_NONCE_BYTES = 12  # random: safe for 2^32 seals with one key (NIST SP 800-38D, 8.3)
_HEAD_BYTES = 1 + KEY_ID_BYTES


class SealBroken(Exception):
    """Not sealed here, for this row, with a key that is known. The message holds nothing of what was sealed."""


class Vault:
    """Seals with the current master key and opens with it or a previous one. It may learn others while it is used."""

    def __init__(self, current: MasterKey, previous: Sequence[MasterKey] = ()) -> None:
        self._head = bytes([VERSION]) + current.key_id
        self._ciphers = {bytes([VERSION]) + key.key_id: AESGCM(key.sealing_key) for key in (*previous, current)}

    def learn(self, sealing: Mapping[bytes, bytes], *, current: bytes) -> None:
        """`sealing`: key id → sealing key. From now on these open too, and that of `current` seals."""
        for key_id, sealing_key in sealing.items():
            self._ciphers.setdefault(bytes([VERSION]) + key_id, AESGCM(sealing_key))
        self._head = bytes([VERSION]) + current

    def knows(self, sealed: bytes) -> bool:
        """Whether the key that sealed it is here."""
        return sealed[:_HEAD_BYTES] in self._ciphers

    @property
    def head(self) -> bytes:
        """How all begins that is sealed from now on."""
        return self._head

    def seal(self, plaintext: str, *, workspace_id: UUID, provider: str, row_id: UUID) -> bytes:
        """A user variable."""
        return self._seal(plaintext.encode(), _variable(workspace_id, provider, row_id))

    def open(self, sealed: bytes, *, workspace_id: UUID, provider: str, row_id: UUID) -> str:
        """Raises `SealBroken`."""
        return self._open(sealed, _variable(workspace_id, provider, row_id)).decode()

    def seal_answer(self, body: bytes, *, actor_id: UUID, key: str) -> bytes:
        """The answer of an idempotency record: it may hold a key that is shown once."""
        return self._seal(body, _answer(actor_id, key))

    def open_answer(self, sealed: bytes, *, actor_id: UUID, key: str) -> bytes:
        """Raises `SealBroken`."""
        return self._open(sealed, _answer(actor_id, key))

    def _seal(self, plaintext: bytes, address: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self._head + nonce + self._ciphers[self._head].encrypt(nonce, plaintext, self._head + address)

    def _open(self, sealed: bytes, address: bytes) -> bytes:
        head = sealed[:_HEAD_BYTES]
        cipher = self._ciphers.get(head)
        if cipher is None:
            raise SealBroken(f"sealed with a master key that is not set here (its id is {head[1:].hex() or 'missing'})")
        nonce = sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEAD_BYTES + _NONCE_BYTES :], head + address)
        except (InvalidTag, ValueError) as error:  # ValueError: cut short, a nonce of the wrong length
            raise SealBroken("not sealed for this row, or damaged") from error


def _variable(workspace_id: UUID, provider: str, row_id: UUID) -> bytes:
    return _address(b"user variable", workspace_id.bytes, provider.encode(), row_id.bytes)


def _answer(actor_id: UUID, key: str) -> bytes:
    return _address(b"idempotent answer", actor_id.bytes, key.encode())


def _address(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
