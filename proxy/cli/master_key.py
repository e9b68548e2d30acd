"""`synapscale master-key`: another master key for a deployment that goes on, and the way out where it is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from proxy.cli.embedded import database
from proxy.cli.fault import USAGE, Fault
from proxy.cli.load import config_fault, database_fault, load_settings
from proxy.cli.options import Config, Json, Yes
from proxy.cli.output import Column, show_rows, talk
from proxy.cli.secrets_in import confirm

if TYPE_CHECKING:
    from proxy.settings.tree import Settings
    from proxy.storage.postgres import Connection
    from proxy.vault.master import MasterKey

app = typer.Typer(no_args_is_help=True, help="The master key: which one the database knows, rotate it, replace a lost one.")

DataFolder = Annotated[Path | None, typer.Option("--data-dir", readable=False, help="Folder of the data.")]
NEW_SUFFIX = ".new"
T = TypeVar("T")


@app.command()
def status(config: Config = None, data_dir: DataFolder = None, as_json: Json = False) -> None:
    """Show which master keys the database accepts, and how many own provider keys each has sealed."""
    from proxy.vault import store

    settings = load_settings(config, {("stores", "data_dir"): data_dir})

    async def look(db: Connection) -> list[Mapping[str, object]]:
        sealed = await store.sealed_by(db)
        known = {each.key_id: each for each in await store.master_keys(db)}
        return [
            {
                "id": key_id.hex(), "state": known[key_id].state if key_id in known else "not accepted",
                "variables": sealed.get(key_id, 0),
                "created_at": known[key_id].created_at.isoformat() if key_id in known else None,
            }
            for key_id in sorted({*known, *sealed})
        ]

    columns = (Column("ID", "id"), Column("STATE", "state"), Column("SEALED", "variables", right=True), Column("SINCE", "created_at"))
    show_rows(_run(settings, look), columns, as_json=as_json, empty="No master key is entered yet: synapscale serve, or migrate.")


@app.command()
def rotate(
    new_key_file: Annotated[
        Path | None, typer.Option("--new-key-file", help="File with the new one (32 bytes, base64). Default, embedded: made.")
    ] = None,
    config: Config = None, data_dir: DataFolder = None,
) -> None:
    """Seal everything with a new master key, in one transaction. The old one is accepted until `retire`."""
    from proxy.vault.rotate import Resealed
    from proxy.vault.rotate import rotate as work

    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    old, file = _given(settings), _file_made_here(settings)
    new = _new_key(new_key_file, file)

    async def turn(db: Connection) -> tuple[Resealed, dict[str, object]]:
        done = await work(db, old, new)
        return done, {"old": old.key_id.hex(), "new": new.key_id.hex(), "variables": done.variables}

    done = _change(settings, new, "rotate", turn)
    if file is not None:
        # Both open the database now: whichever file a killed command leaves here is right.
        kept = file.with_name(f"{file.name}.{old.key_id.hex()}")
        with suppress(FileExistsError):
            os.link(file, kept)
        os.replace(file.with_name(file.name + NEW_SUFFIX), file)
        talk(f"{file} is the new master key; the old one is kept as {kept}.")
    _tell_resealed(done, new)
    talk("Both are accepted. When every process has been restarted with the new one: synapscale master-key retire")


@app.command()
def retire(config: Config = None, data_dir: DataFolder = None) -> None:
    """After a rotation: accept the old master key no longer. Run it with the new one set."""
    from proxy.vault.rotate import Retired
    from proxy.vault.rotate import retire as work

    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    master = _given(settings)

    async def end(db: Connection) -> tuple[Retired, dict[str, object]]:
        done = await work(db, master)
        return done, {"retired": [each.hex() for each in done.key_ids], "variables": done.resealed.variables}

    done = _change(settings, master, "retire", end)
    _tell_resealed(done.resealed, master)
    gone = ", ".join(each.hex() for each in done.key_ids)
    talk(f"No longer accepted: {gone}. Backups from before need it all the same." if gone else "There was no old one.")


@app.command()
def reset(config: Config = None, data_dir: DataFolder = None, yes: Yes = False) -> None:
    """The master key is lost: accept the one that is set now. Stored provider keys and all keys must be made anew."""
    from proxy.vault import rotate as vault
    from proxy.vault.keyring import Keyring
    from proxy.vault.master import MasterKey, MasterKeyError

    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    file = _file_made_here(settings)
    confirm("No virtual key, management key or own provider key of this database will work any more. Go on?", yes=yes)
    master = _given(settings) if file is None else _loaded(lambda: MasterKey.load_or_create(file))

    async def over(db: Connection) -> tuple[int, dict[str, object]]:
        with suppress(MasterKeyError):
            if await Keyring(master).load(db):
                raise Fault("The master key that is set opens this database: nothing is lost, nothing was changed.")
        lost = await vault.reset(db, master)
        return lost, {"new": master.key_id.hex(), "lost_variables": lost}

    lost = _change(settings, master, "reset", over)
    talk(
        f"Accepted is now the master key {master.key_id.hex()}. {lost} own provider keys cannot be opened: set them again. "
        "Start with SYNAPSCALE_ADMIN_KEY set to a new sk-adm-… key, then rotate every virtual and management key."
    )


def _given(settings: Settings) -> MasterKey:
    from proxy.settings.key_files import master_key
    from proxy.settings.problem import ConfigError

    file = _file_made_here(settings)
    try:
        if file is not None and not file.exists():
            raise ConfigError([f"{file} does not exist.", "Is it lost, and no backup holds it? synapscale master-key reset"])
        return master_key(settings)
    except ConfigError as error:
        raise config_fault(error.lines) from None


def _file_made_here(settings: Settings) -> Path | None:
    """Where the first start of an embedded deployment put it; None where the operator says what it is."""
    from proxy.settings.key_files import MASTER_KEY

    if settings.master_key is not None or settings.master_key_file is not None or settings.stores.database_url is not None:
        return None
    return settings.stores.data_dir / MASTER_KEY


def _new_key(given: Path | None, file: Path | None) -> MasterKey:
    """In an embedded deployment it is in `<data-dir>/master-key.new` before anything is sealed with it."""
    from proxy.settings.key_files import write_secret
    from proxy.settings.problem import ConfigError
    from proxy.vault.master import MasterKey

    if file is None:
        if given is None:
            raise Fault(
                "Where is the new master key? Every process will need it.",
                next_step="head -c 32 /dev/urandom | base64 > new-master-key; … rotate --new-key-file new-master-key",
                code=USAGE,
            )
        return _loaded(lambda: MasterKey.load(value=None, file=given))
    draft = file.with_name(file.name + NEW_SUFFIX)
    if given is not None and not draft.exists():
        _loaded(lambda: MasterKey.load(value=None, file=given))
        try:
            write_secret(draft, given.read_text("ascii").strip())
        except ConfigError as error:
            raise config_fault(error.lines) from None
    made = _loaded(lambda: MasterKey.load_or_create(draft))
    if given is not None and made.key_id != _loaded(lambda: MasterKey.load(value=None, file=given)).key_id:
        raise Fault(f"{draft} is left of a rotation that was cut short. Finish it first.", next_step="the same without --new-key-file")
    return made


def _loaded(load: Callable[[], MasterKey]) -> MasterKey:
    from proxy.vault.master import MasterKeyError

    try:
        return load()
    except MasterKeyError as error:
        raise Fault(f"{error}.", code=USAGE) from None


def _tell_resealed(done: object, master: MasterKey) -> None:
    from proxy.vault.rotate import Resealed

    assert isinstance(done, Resealed)
    talk(f"{done.variables} own provider keys were sealed anew with the master key {master.key_id.hex()}.")
    if done.broken:
        talk(f"Warning: {len(done.broken)} open with no known key and were left: {', '.join(map(str, done.broken))}.")


def _change(
    settings: Settings, master: MasterKey, verb: str, work: Callable[[Connection], Awaitable[tuple[T, dict[str, object]]]],
) -> T:
    """Through the one write path: a transaction with its audit entry. `master` would seal, were there anything to."""
    from proxy.audit.actor import SYSTEM
    from proxy.audit.write import Change, ManagementWriter
    from proxy.storage.postgres import open_pool
    from proxy.telemetry.clock import Clock
    from proxy.vault.seal import Vault

    async def publish(raised: object) -> None:
        """Nothing that caches hold changes: what the old key sealed still opens."""

    async def change(dsn: str) -> T:
        result: list[T] = []

        async def once(db: Connection) -> Change:
            done, detail = await work(db)
            result[:] = [done]
            return Change(body=b"", workspace_id=None, resource_id=None, detail=detail)

        pool = await open_pool(dsn, max_size=1, application_name="synapscale master-key")
        try:
            writer = ManagementWriter(pool, Vault(master), publish, Clock())
            await writer.change(
                SYSTEM, verb=verb, resource="master_key", workspace_id=None, idempotency=None, work=once
            )
        finally:
            await pool.close()
        return result[0]

    return _with_database(settings, change)


def _run(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    from proxy.storage.postgres import connect

    async def run(dsn: str) -> T:
        db = await connect(dsn, application_name="synapscale master-key")
        try:
            return await work(db)
        finally:
            await db.close(timeout=5)

    return _with_database(settings, run)


def _with_database(settings: Settings, work: Callable[[str], Awaitable[T]]) -> T:
    from proxy.cli.checks.store import POSTGRES_TROUBLE
    from proxy.storage.postgres import SCHEMA_MISSING
    from proxy.vault.master import MasterKeyError

    async def run(dsn: str) -> T:
        return await work(dsn)

    try:
        with database(settings) as dsn:
            return asyncio.run(run(dsn))
    except MasterKeyError as error:
        raise Fault(f"{error}.") from None
    except SCHEMA_MISSING:
        raise Fault("The schema is not of this version.", next_step="synapscale migrate (serve does it at its start)") from None
    except POSTGRES_TROUBLE as error:
        raise database_fault(error) from None
