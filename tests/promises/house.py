"""A whole house as a process tree, with ways to break it: `synapscale serve` on a folder of its own, beside a provider."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import redis

from proxy.holds.keys import holds_key, usage_key
from proxy.ledger.stream import GROUP
from proxy.storage.embedded.leash import leash
from proxy.storage.postgres import POSTGRES_AWAY, Record, connect
from tests.promises.process_tree import children, command_line, send

ROOT = Path(__file__).resolve().parents[2]
Role: TypeAlias = Literal["gateway", "worker", "valkey", "postgres"]  # postgres: the postmaster

# What each role's process has in its command line; Valkey and Postgres rewrite theirs.
_MARKS = {"gateway": " -m proxy gateway", "worker": " -m proxy worker", "valkey": "valkey-server", "postgres": "/postgres "}

# Seconds instead of minutes: a lease must be able to end within a test.
FAST = {
    "SYNAPSCALE_HOLDS__LEASE_S": "3",
    "SYNAPSCALE_HOLDS__RENEW_AFTER_S": "1",
    "SYNAPSCALE_HOLDS__SWEEP_GRACE_S": "1",
    "SYNAPSCALE_UPSTREAM__DRAIN_S": "3",
}
LEASE_S = 3.0
NOTICED_WITHIN_S = 3.0  # desks look once a second, late on a busy machine


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def eventually(check: Callable[[], Any], what: str, timeout_s: float = 30, every_s: float = 0.1) -> Any:
    """The first true value of `check`, which may be a coroutine function; else fails with the last value."""
    until = time.monotonic() + timeout_s
    while True:
        value = check()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < until, f"not within {timeout_s} s: {what} (last: {value!r})"
        await asyncio.sleep(every_s)


class House:
    """`key` is the first virtual key; `pids(role)` finds processes to kill. Start it in the main thread."""

    def __init__(self, folder: Path, config: str, *, workers: int = 2, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "serve.log"
        (folder / "config.yaml").write_text(config)
        self._argv = [
            *(sys.executable, "-m", "proxy", "serve", "--port", str(self.port), "--workers", str(workers)),
            *("--data-dir", str(self.data), "--config", str(folder / "config.yaml")),
        ]
        theirs = ("DATABASE_URL", "REDIS_URL")
        ours = {
            name: value for name, value in os.environ.items()
            if not name.endswith("_API_KEY") and not name.startswith("SYNAPSCALE_") and name not in theirs
        }  # fmt: skip
        self._env = {**ours, **FAST, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    # ---- start and stop

    def start(self) -> None:
        self.until_up(self.launch())

    def launch(self) -> int:
        """In the main thread. Returns where what it says begins in the log, for `until_up`."""
        with self.log.open("ab") as out:
            begins = out.tell()
            self.process = subprocess.Popen(
                self._argv, stdout=out, stderr=out, env=self._env, cwd=ROOT, start_new_session=True,
                preexec_fn=leash(signal.SIGTERM),  # a killed test run leaves nothing running
            )  # fmt: skip
        return begins

    def until_up(self, begins: int) -> None:
        assert self.process is not None
        until = time.monotonic() + 60
        while b'{"event": "ready"' not in self.log.read_bytes()[begins:]:
            assert self.process.poll() is None, f"serve ended with {self.process.returncode}:\n{self.tail()}"
            assert time.monotonic() < until, f"not up within 60 s:\n{self.tail()}"
            time.sleep(0.05)

    def stop(self, timeout_s: float = 60) -> int:
        """The exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill_all(self) -> None:
        """The end of a test, whatever became of it."""
        if self.process is not None and self.process.poll() is None:
            send(self.pids_of_all(), signal.SIGCONT)  # a stopped process does not hear a signal to end
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(20)
            self.process.kill()
            self.process.wait()

    def tail(self, size: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-size:]

    def ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    # ---- its processes

    def pids(self, role: Role) -> list[int]:
        assert self.process is not None
        return [pid for pid in children(self.process.pid) if _MARKS[role] in command_line(pid)]

    def pids_of_all(self) -> list[int]:
        """serve itself and everything below it."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    def signal(self, role: Role, number: signal.Signals) -> list[int]:
        """To all of that role; returns whom."""
        pids = self.pids(role)
        assert pids, f"no {role} is running"
        for pid in pids:
            os.kill(pid, number)
        return pids

    async def kill(self, role: Role, pid: int | None = None) -> int:
        """kill -9 of one of that role; returns which. Waits for one to be there: it may be about to come back."""
        victim = int(pid or (await eventually(lambda: self.pids(role), f"a {role} runs"))[0])
        os.kill(victim, signal.SIGKILL)
        return victim

    async def nap(self, role: Role, seconds: float) -> None:
        """Stops one of that role with its children for so long, as a machine that is paused does."""
        pids = self.pids(role)[:1]
        for pid in pids:
            pids += children(pid)
        send(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            send(pids, signal.SIGCONT)

    @contextlib.contextmanager
    def supervisor_asleep(self) -> Iterator[None]:
        """Nothing that dies meanwhile comes back."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def replaced(self, role: Role, victim: int, count: int = 1) -> None:
        def there() -> bool:
            return victim not in (pids := self.pids(role)) and len(pids) >= count

        await eventually(there, f"another {role} than {victim} runs")

    def served_by(self) -> dict[int, int]:
        """Port of a client's end of a connection → pid of the gateway that accepted it."""
        owner: dict[str, int] = {}
        for pid in self.pids("gateway"):
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        owner[os.readlink(f"/proc/{pid}/fd/{fd}")] = pid
        found = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ours, theirs = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            pid = owner.get(f"socket:[{fields[9]}]")
            if ours == self.port and theirs and pid is not None:
                found[theirs] = pid
        return found

    # ---- its doors

    @property
    def key(self) -> str:
        return (self.data / "first-key").read_text().strip()

    @property
    def admin_key(self) -> str:
        return self._env.get("SYNAPSCALE_ADMIN_KEY") or (self.data / "admin-key").read_text().strip()

    def api(self, path: str, method: str = "GET", body: Any = None, *, key: str = "", any_status: bool = False) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key or self.admin_key}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                text = answer.read().decode()
                is_json = answer.headers.get_content_type() == "application/json"
                return json.loads(text or "null") if is_json else text  # a file
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            assert any_status, f"{method} {path}: {error.code} {text}"
            return json.loads(text)

    def new_key(self, name: str, **fields: Any) -> tuple[str, str]:
        """The id and the key of a new virtual key, made like the first one."""
        first = self.api("virtual-keys?limit=1&order=asc")["data"][0]
        made = self.api(
            "virtual-keys", "POST", {"workspace_id": first["workspace_id"], "user_id": first["user_id"], "name": name, **fields}
        )
        return made["id"], made["key"]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """Its sum over all processes; 0 while nothing was counted."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.metrics().splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))

    @property
    def database_url(self) -> str:
        return str(json.loads((self.data / "running.json").read_text())["database_url"])

    def valkey(self) -> redis.Redis:
        """Not through any gateway. Use it with `with`."""
        url = json.loads((self.data / "running.json").read_text())["redis_url"]
        return redis.Redis.from_url(url, socket_timeout=10, retry_on_timeout=False)

    async def query(self, sql: str, *arguments: Any, timeout_s: float = 30) -> Sequence[Record]:
        """Not through any gateway; waits for a Postgres that is coming back."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                conn = await connect(self.database_url, application_name="tests")
                try:
                    return await conn.fetch(sql, *arguments)
                finally:
                    await conn.close(timeout=5)
            except POSTGRES_AWAY:
                assert time.monotonic() < until, "Postgres did not come back"
                await asyncio.sleep(0.1)

    # ---- is anything left to do?

    def pending(self) -> dict[str, int]:
        """What is left in Redis and in the spools: holds, entries read and not acknowledged, entries never read, bytes."""
        with self.valkey() as valkey:
            key = usage_key(0)
            left = {"holds": int(valkey.hlen(holds_key(0))), "pending": 0, "unread": int(valkey.xlen(key))}
            for group in valkey.xinfo_groups(key) if left["unread"] else []:
                if group["name"] == GROUP.encode():
                    left["pending"] = int(group["pending"])
                    after = b"(" + group["last-delivered-id"]
                    left["unread"] = len(valkey.xrange(key, after, "+", count=1000))
        return left | {"spooled": sum(path.stat().st_size for path in (self.data / "spool").iterdir())}

    async def quiet(self, timeout_s: float = 45) -> None:
        """Nothing is pending any more, for longer than a gateway takes to notice that Redis has forgotten something."""
        left: Any = None
        began = since = time.monotonic()
        while time.monotonic() - since < NOTICED_WITHIN_S:
            try:
                left = self.pending()
                busy = any(left.values()) or not self.ready()
            except (redis.RedisError, OSError) as away:
                left, busy = away, True
            if busy:
                since = time.monotonic()
            assert time.monotonic() - began < timeout_s, f"still pending after {timeout_s} s: {left!r}\n{self.tail()}"
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def living(folder: Path, config: str, **options: Any) -> Iterator[House]:
    """A house that is up, and gone afterwards whatever became of it."""
    house = House(folder, config, **options)
    try:
        house.start()
        yield house
    finally:
        house.kill_all()
