"""A consistent copy of an embedded deployment, running or not.

What was settled before the backup began is in it. The order makes it so, with a house at work:

1. the spool: an event in it stays there until Redis has it;
2. a snapshot of Postgres;
3. Valkey's append-only files, at once: an event that the ledger wrote after (2) stays in the stream for
   `ledger.retention_s`, acknowledged or not;
4. the dump of the snapshot of (2), however long it takes.

So every event is in one of them, or in several: the worker of a restored house reads the whole stream and adopts the
spool, and what is in the tables already changes nothing. An attempt in flight has its hold in (3); its process is gone
after a restore, and it is settled as abandoned.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.storage.embedded.locate import Locator
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.run_as import environment
from proxy.storage.postgres import connect
from proxy.storage.redis import open_redis

AOF_FOLDER = "appendonlydir"  # appenddirname
DUMP = "postgres.dump"
REWRITE_WAIT_S = 60.0
_REWRITE = "auto-aof-rewrite-percentage"


def tool(name: str) -> Path:
    """pg_dump, pg_restore beside the server program that `serve` would run, or on PATH."""

    def no_copies(parent: str) -> Path:
        raise OSError("a client needs none")

    beside = Locator(None, no_copies).postgres().path.with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise StoreProblem(
            f"There is no {name} beside {beside.parent / 'postgres'} nor on PATH.\n"
            "Install the client programs of that Postgres, or stop synapscale and copy the data folder as a whole."
        )
    return Path(found)


async def gather(into: Path, *, dsn: str, data_dir: Path, redis_url: str | None, embedded_valkey: bool) -> str:
    """Spool, Postgres and Valkey into an empty folder. `redis_url` None: Valkey is not running. The server's version."""
    program = tool("pg_dump")
    copy_files(data_dir / "spool", into / "spool")
    db = await connect(dsn, application_name="synapscale backup")
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await db.fetchval("SELECT pg_export_snapshot()")
            if embedded_valkey:
                files = data_dir / "stores/valkey" / AOF_FOLDER
                if redis_url is None:
                    copy_files(files, into / "valkey" / AOF_FOLDER)
                else:
                    async with _without_rewrite(redis_url):
                        copy_files(files, into / "valkey" / AOF_FOLDER)
            arguments = ["--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={into / DUMP}", f"--dbname={dsn}"]
            await asyncio.to_thread(run, [str(program), *arguments])
            version: str = await db.fetchval("SHOW server_version")
            return version
    finally:
        await db.close(timeout=5)


@asynccontextmanager
async def _without_rewrite(redis_url: str) -> AsyncIterator[None]:
    """While no rewrite runs, the append-only files only grow: a copy of them is one moment (valkey.io, Persistence)."""
    async with open_redis(redis_url, max_connections=1, decode_responses=True) as redis:
        before = str((await redis.config_get(_REWRITE))[_REWRITE])
        await redis.config_set(_REWRITE, 0)
        try:
            for _ in range(int(REWRITE_WAIT_S / 0.05)):
                if not (await redis.info("persistence"))["aof_rewrite_in_progress"]:
                    break
                await asyncio.sleep(0.05)
            else:
                raise StoreProblem(f"Valkey rewrites its append-only file for more than {REWRITE_WAIT_S:.0f} s. Try again.")
            yield
        finally:
            await redis.config_set(_REWRITE, before)


def copy_files(source: Path, target: Path) -> None:
    """Plain files, not following links. A file that goes meanwhile (a spool that was emptied) is left out."""
    if not source.is_dir():
        return
    target.mkdir(mode=0o700, parents=True)
    for path in sorted(source.iterdir()):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        with os.fdopen(fd, "rb") as file, (target / path.name).open("xb") as out:
            shutil.copyfileobj(file, out)


def run(argv: list[str]) -> None:
    """A client program of Postgres. Its environment is clean: no password of another server."""
    done = subprocess.run(argv, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StoreProblem(f"{Path(argv[0]).name} failed:\n{done.stderr.strip()[-2000:]}")
