"""Secrets that live in files beside the data: readable by their owner only, never overwritten, never printed.

`<data-dir>/master-key` seals everything stored, `admin-key` is the first management key, `first-key` the first virtual
key where there was no terminal to show it on.
"""

from __future__ import annotations

import os
from pathlib import Path

from proxy.settings.problem import ConfigError
from proxy.settings.tree import Settings
from proxy.vault.master import MasterKey, MasterKeyError

MASTER_KEY = "master-key"
ADMIN_KEY = "admin-key"
FIRST_KEY = "first-key"
_DATABASE = Path("stores/pg/PG_VERSION")  # storage/embedded/postgres.py makes it


def master_key(settings: Settings) -> MasterKey:
    """The key that opens what is stored. With an embedded database the first start makes it.

    With an external database it must be given: a key made on this machine would seal secrets that no other machine can
    open, and be lost with it.
    """
    try:
        if settings.master_key is not None:
            return MasterKey.load(value=settings.master_key.get_secret_value(), file=None)
        if settings.master_key_file is not None:
            return MasterKey.load(value=None, file=settings.master_key_file)
        made_here = settings.stores.data_dir / MASTER_KEY
        if settings.stores.database_url is not None:
            raise ConfigError([
                "An external Postgres needs SYNAPSCALE_MASTER_KEY: 32 bytes in base64, the same for all processes.",
                "Make one once and keep it safe: head -c 32 /dev/urandom | base64",
                f"A database that was moved out of an embedded data folder keeps its key: the content of {made_here}.",
            ])
        if not made_here.exists():
            if (settings.stores.data_dir / _DATABASE).exists():
                # A new key would look like it worked and open nothing: no provider key, no virtual key.
                raise ConfigError([
                    f"{made_here} is gone, and the database beside it is sealed with it.",
                    f"Restore the file from your backup, or start anew: move {settings.stores.data_dir} away.",
                ])
            made_here.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return MasterKey.load_or_create(made_here)
    except MasterKeyError as error:
        raise ConfigError([f"{error}."]) from None
    except OSError as error:
        raise ConfigError([f"{error.filename} cannot be used: {error.strerror}. Name another --data-dir."]) from None


def read_secret(path: Path) -> str | None:
    """None where there is no such file."""
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}. Check its permissions."]) from None


def write_secret(path: Path, secret: str) -> None:
    """Whole or not at all, 0600 from the first byte; a file that is there stays, and that is an error."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(f"{secret}\n".encode())
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, path)
    except OSError as error:
        raise ConfigError([f"{path} cannot be written: {error.strerror}. Name another --data-dir."]) from None
    finally:
        draft.unlink(missing_ok=True)
