"""A backup becomes a data folder: made beside its place and renamed into it when all is well, never over another one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy.storage.embedded.backup import AOF_FOLDER, DUMP, run, tool
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import Connection, connect

SUFFIX = ".restoring"
_NOT_STARTED = "unix:///not-started"


def require_free(data_dir: Path) -> None:
    """Raises `StoreProblem` where there is anything in the place of the folder."""
    if data_dir.is_symlink() or data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise StoreProblem(f"{data_dir} is not empty: a backup is restored into a folder of its own. Move it away first.")
    draft = draft_of(data_dir)
    if draft.exists():
        raise StoreProblem(f"{draft} is left of a restore that was cut short, or one is running. Remove it first.")


def draft_of(data_dir: Path) -> Path:
    return data_dir.with_name(data_dir.name + SUFFIX)


def fill(unpacked: Path, draft: Path, check: Callable[[Connection], Awaitable[None]]) -> None:
    """From `archive.unpack` to a data folder whose servers are stopped. `check` raises where the database is not right."""
    program = tool("pg_restore")
    stores = Stores(DataFolder(draft), redis_url=_NOT_STARTED)
    stores.start()
    try:
        # One transaction: a dump that fails half-way leaves nothing that looks like a ledger.
        arguments = ["--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={stores.database_url}"]
        run([str(program), *arguments, str(unpacked / DUMP)])
        asyncio.run(_finish(stores.database_url, check))
        if (unpacked / "valkey" / AOF_FOLDER).is_dir():
            _give(unpacked / "valkey" / AOF_FOLDER, stores.folder.make("valkey") / AOF_FOLDER, stores.folder)
        if (unpacked / "spool").is_dir():
            shutil.copytree(unpacked / "spool", draft / "spool")
            (draft / "spool").chmod(0o700)
    finally:
        stores.stop()


def put_in_place(draft: Path, data_dir: Path) -> None:
    os.sync()  # what was copied, before the name says that it is there
    if data_dir.exists():
        data_dir.rmdir()
    draft.rename(data_dir)


async def _finish(dsn: str, check: Callable[[Connection], Awaitable[None]]) -> None:
    db = await connect(dsn, application_name="synapscale restore")
    try:
        await check(db)
        await db.execute("ANALYZE")  # a dump holds no statistics: without them the first reports are slow
    finally:
        await db.close(timeout=5)


def _give(source: Path, target: Path, folder: DataFolder) -> None:
    """Files for the servers' account."""
    shutil.copytree(source, target)
    target.chmod(0o700)
    if folder.account is not None:
        for path in (target, *target.iterdir()):
            os.chown(path, folder.account.uid, folder.account.gid)
