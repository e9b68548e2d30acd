"""The master key: 32 bytes that the operator keeps. All other keys come from it by HKDF.

`hash_key` is that of a database which this master key was the first of; the one in force is in the ring (`keyring.py`).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_BYTES = 32
KEY_ID_BYTES = 4
_HOW = "`python3 -c 'import base64,os; print(base64.b64encode(os.urandom(32)).decode())'` makes one"


class MasterKeyError(Exception):
    """The master key cannot be used; the message says why and what to do, never what it is."""


class MasterKey:
    """`key_id` stands in front of all that it sealed: it says which master key opens it, and nothing about the key."""

    __slots__ = ("hash_key", "key_id", "ring_key", "sealing_key")

    def __init__(self, master: bytes) -> None:
        if len(master) != MASTER_BYTES:
            raise MasterKeyError(f"the master key must be {MASTER_BYTES} bytes, it has {len(master)}. {_HOW}")
        self.sealing_key = _derive(master, b"synapscale/sealing/1", 32)
        self.hash_key = _derive(master, b"synapscale/key-hash/1", 32)
        self.ring_key = _derive(master, b"synapscale/ring/1", 32)
        self.key_id = _derive(master, b"synapscale/key-id/1", KEY_ID_BYTES)

    def __repr__(self) -> str:
        return f"<MasterKey {self.key_id.hex()}>"

    @classmethod
    def load(cls, *, value: str | None, file: Path | None) -> MasterKey:
        """From the environment's value, else from the file."""
        if value is not None:
            return cls(_decode(value, "SYNAPSCALE_MASTER_KEY"))
        if file is not None:
            try:
                return cls(_decode(file.read_text("ascii", errors="replace"), str(file)))
            except FileNotFoundError:
                raise MasterKeyError(
                    f"there is no master key: SYNAPSCALE_MASTER_KEY is not set and {file} does not exist. {_HOW}; keep "
                    "a copy, without it nothing that is sealed can be opened"
                ) from None
            except OSError as error:
                raise MasterKeyError(f"the master key in {file} cannot be read: {error.strerror}") from error
        raise MasterKeyError(f"there is no master key: set SYNAPSCALE_MASTER_KEY (32 bytes, base64). {_HOW}")

    @classmethod
    def load_or_create(cls, file: Path) -> MasterKey:
        """The first start of an embedded deployment writes the file (0600). Of two at once, both read the same key."""
        if not file.exists():
            draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
            try:
                handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as out:
                    out.write(base64.b64encode(secrets.token_bytes(MASTER_BYTES)) + b"\n")
                    out.flush()
                    os.fsync(out.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(draft, file)  # whole or not at all, and never over another's
                _sync_folder(file.parent)
            except OSError as error:
                raise MasterKeyError(f"the master key cannot be written to {file}: {error.strerror}") from error
            finally:
                draft.unlink(missing_ok=True)
        return cls.load(value=None, file=file)


def _decode(text: str, where: str) -> bytes:
    try:
        # Both alphabets: `openssl rand -base64 32` and Python's urlsafe one.
        return base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        raise MasterKeyError(f"{where} is not base64. {_HOW}") from None


def _derive(master: bytes, purpose: bytes, length: int) -> bytes:
    """HKDF (RFC 5869), one purpose per key: no key is used for two things."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(master)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
