"""`synapscale backup`, `synapscale restore`: one file for all that an embedded deployment holds."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.embedded import database
from proxy.cli.fault import USAGE, Fault
from proxy.cli.load import database_fault, load_settings
from proxy.cli.options import Config, data_option
from proxy.cli.output import talk
from proxy.cli.running import running

if TYPE_CHECKING:
    from proxy.settings.tree import Settings
    from proxy.storage.postgres import Connection
    from proxy.vault.master import MasterKey

File = Annotated[Path, typer.Argument(help="The backup.", metavar="FILE")]
DataFolder = Annotated[Path | None, typer.Option("--data-dir", readable=False, help="Folder of the data. Default: .synapscale.")]


def backup(
    file: File, config: Config = None, data_dir: DataFolder = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Also master key, admin-key and first-key: who has the file has everything.")
    ] = False,
) -> None:
    """Write all data of an embedded deployment to FILE, while it runs or not: Postgres, Valkey, spool."""
    from proxy.settings.key_files import ADMIN_KEY, FIRST_KEY, MASTER_KEY
    from proxy.storage.embedded import archive
    from proxy.storage.embedded.backup import gather

    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    folder = settings.stores.data_dir
    if settings.stores.database_url is not None:
        raise Fault(
            "DATABASE_URL is set: this backs up embedded stores only.",
            next_step="pg_dump --format=custom \"$DATABASE_URL\"; docs/operations.md says what else", code=USAGE,
        )
    if file.exists():
        raise Fault(f"{file} exists: it is left as it is.", next_step="another name", code=USAGE)
    with _told(), _scratch(file.absolute().parent) as scratch, database(settings) as dsn:
        started = datetime.now(UTC)
        embedded_valkey = settings.stores.redis_url is None
        redis_url = running(folder).get("redis_url") if embedded_valkey else None
        postgres = asyncio.run(
            gather(scratch, dsn=dsn, data_dir=folder, redis_url=redis_url, embedded_valkey=embedded_valkey)
        )
        if with_keys:
            (scratch / "keys").mkdir(mode=0o700)
            for name in (MASTER_KEY, ADMIN_KEY, FIRST_KEY):
                if (folder / name).exists():
                    shutil.copy(folder / name, scratch / "keys" / name)
        manifest = archive.write(
            file.absolute(), scratch, synapscale=installed_version("synapscale-gateway"),
            created_at=started, postgres=postgres, valkey=embedded_valkey,
        )
    talk(f"{file}: {file.stat().st_size:,} bytes, everything that was settled before {manifest.created_at}.")
    if not embedded_valkey:
        talk("Warning: REDIS_URL is set: events that wait in that Redis are not in it.")
    if not with_keys:
        talk("The master key is not in it. Keep a copy of it elsewhere: without it no key and no sealed secret works.")


def restore(
    file: File, config: Config = None, data_dir: DataFolder = None,
    master_key_file: Annotated[
        Path | None, typer.Option("--master-key-file", help="The master key, where FILE was written without --with-keys.")
    ] = None,
) -> None:
    """Make a data folder out of FILE. It must not exist, or be empty; `synapscale serve` then starts on it."""
    from proxy.settings.key_files import ADMIN_KEY, MASTER_KEY
    from proxy.storage.embedded import archive
    from proxy.storage.embedded.restore import draft_of, fill, put_in_place, require_free

    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    folder = settings.stores.data_dir
    if settings.stores.database_url is not None:
        raise Fault(
            "DATABASE_URL is set: this restores embedded stores only.",
            next_step=f"tar -xf {file} postgres.dump; pg_restore --no-owner -d \"$DATABASE_URL\" postgres.dump", code=USAGE,
        )
    if not file.is_file():
        raise Fault(f"There is no file {file}.", code=USAGE)
    with _told():
        require_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(folder)
        with _scratch(folder.parent) as scratch, archive.read(file) as opened:
            opened.unpack(scratch)
            keys = scratch / "keys"
            master = _master_key(settings, master_key_file, keys / MASTER_KEY)
            try:
                draft.mkdir(mode=0o700)
                fill(scratch, draft, lambda db: _check(db, master))
                if keys.is_dir():
                    for path in keys.iterdir():
                        shutil.copy(path, draft / path.name)
                if master_key_file is not None:
                    shutil.copy(master_key_file, draft / MASTER_KEY)
                if (draft / MASTER_KEY).exists():
                    (draft / MASTER_KEY).chmod(0o600)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            put_in_place(draft, folder)
            manifest = opened.manifest
    talk(f"{folder} is as it was at {manifest.created_at}. Next: synapscale serve{data_option(folder)}")
    if not (folder / ADMIN_KEY).exists():
        talk(
            f"There is no {ADMIN_KEY} in it. Copy yours there, or have it in SYNAPSCALE_KEY; without one, start serve once "
            "with SYNAPSCALE_ADMIN_KEY=sk-adm-… set to a new long random key, which gets you in."
        )


def _master_key(settings: Settings, given: Path | None, in_backup: Path) -> MasterKey:
    from proxy.vault.master import MasterKey, MasterKeyError

    if given is not None and in_backup.exists():
        raise Fault("The backup holds its master key: leave --master-key-file out.", code=USAGE)
    file = given or (in_backup if in_backup.exists() else settings.master_key_file)
    try:
        if given is None and not in_backup.exists() and settings.master_key is not None:
            return MasterKey.load(value=settings.master_key.get_secret_value(), file=None)
        if file is None:
            raise Fault(
                "The backup was written without its master key.",
                next_step="--master-key-file FILE (the copy that was kept elsewhere), or SYNAPSCALE_MASTER_KEY", code=USAGE,
            )
        return MasterKey.load(value=None, file=file)
    except MasterKeyError as error:
        raise Fault(f"{error}.", code=USAGE) from None


async def _check(db: Connection, master: MasterKey) -> None:
    """Before the folder gets its name: a wrong key would be noticed by every client."""
    from proxy.vault.keyring import Keyring

    await Keyring(master).load(db)


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """0700, where the result will be: there is room for it, and nothing is copied twice over a network."""
    path = Path(tempfile.mkdtemp(prefix=".synapscale-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _told() -> Iterator[None]:
    from proxy.cli.checks.store import POSTGRES_TROUBLE
    from proxy.storage.embedded.problem import StoreProblem
    from proxy.storage.redis import REDIS_AWAY
    from proxy.vault.master import MasterKeyError

    try:
        yield
    except StoreProblem as error:
        raise Fault(str(error)) from None
    except MasterKeyError as error:
        raise Fault(f"{error}.") from None
    except OSError as error:
        if error.filename is None:
            raise database_fault(error) from None
        raise Fault(f"{os.fsdecode(error.filename)}: {error.strerror}.") from None
    except POSTGRES_TROUBLE as error:
        raise database_fault(error) from None
    except REDIS_AWAY as error:
        raise Fault(f"Valkey cannot be reached: {error}.", next_step="synapscale doctor") from None
