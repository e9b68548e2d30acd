"""The supervisor as a process, with real stores; only gateway and worker are stand-ins."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.postgres import connect
from proxy.storage.redis import open_redis

SCRIPT = Path(__file__).with_name("serve_stand_ins.py")
WITHIN_S = 60


def eventually(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    pytest.fail(f"did not happen: {what}")


def is_alive(pid: int) -> bool:
    """Zombies are not: an orphan of the test waits for an init that may never collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between open and read
        return False


def kill(pid: int) -> None:
    """And wait until it is gone: a signal is not yet a death."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), f"the end of {pid}")


def hang(pid: int) -> None:
    """It is there, and does nothing. Wait for all its threads: one may be about to accept."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    eventually(
        lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
        f"the stop of {pid}",
    )


class Serve:
    """A running `serve`, from outside."""

    def __init__(self, data_dir: Path, log: Path, environment: dict[str, str], **differs: object) -> None:
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps({"data_dir": str(data_dir), **differs})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "STAND_IN_LOG": str(log), **environment},
        )
        self.store_pids: dict[str, int] = {}
        self.port = 0
        self.database_url = self.redis_url = ""

    def wait_ready(self) -> Serve:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said["event"] == "stores":
                self.store_pids = said["pids"]
            else:
                self.port, self.database_url, self.redis_url = said["port"], said["database_url"], said["redis_url"]
                return self
        return pytest.fail(f"never ready: {self.end()}")

    def end(self) -> str:
        """Wait for its end; what it wrote on stderr."""
        return self.process.communicate(timeout=WITHIN_S)[1]

    def notes(self, event: str, role: str | None = None) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        notes = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [note for note in notes if note["event"] == event and role in (None, note["role"])]

    def ask(self) -> int:
        """The pid of the gateway that accepts, however long it takes it to come up."""
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN_S) as connection:
                if answer := connection.recv(32):  # empty: it was killed between accepting and answering
                    return int(answer)
        raise AssertionError("nobody answers")

    def clear_away(self) -> None:
        """Also what a broken supervisor would leave."""
        self.process.terminate()
        try:
            self.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            for pid in filter(is_alive, self.pids()):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def pids(self) -> list[int]:
        return [self.process.pid, *self.store_pids.values(), *(note["pid"] for note in self.notes("started"))]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serve]]:
    started: list[Serve] = []

    def start(name: str = "data", environment: dict[str, str] | None = None, **differs: object) -> Serve:
        log = tmp_path / f"log-{len(started)}"
        started.append(Serve(tmp_path / name, log, environment or {}, **differs))
        return started[-1]

    yield start
    for one in started:
        one.clear_away()
        for stream in (one.process.stdout, one.process.stderr):
            assert stream is not None
            stream.close()


def test_a_killed_gateway_is_replaced_and_who_waited_is_answered(serve: Callable[..., Serve]) -> None:
    running = serve(gateways=1).wait_ready()
    first = running.ask()
    kill(first)
    second = running.ask()  # accepted by the kernel at once, by the successor later
    assert second != first
    assert [note["index"] for note in running.notes("started", "gateway")] == [0, 0]


def test_a_hung_gateway_is_replaced(serve: Callable[..., Serve]) -> None:
    running = serve(gateways=1, hung_after_s=1).wait_ready()
    first = running.ask()
    hang(first)
    assert running.ask() != first
    eventually(lambda: not is_alive(first), "the end of the hung one")
    assert len(running.notes("started", "worker")) == 1  # which lives
    running.process.terminate()
    assert f"gateway 0 (process {first}) gives no sign of life and is killed" in running.end()


def test_a_killed_worker_is_replaced(serve: Callable[..., Serve]) -> None:
    running = serve().wait_ready()
    os.kill(running.notes("started", "worker")[0]["pid"], signal.SIGKILL)
    eventually(lambda: len(running.notes("started", "worker")) == 2, "a second worker")


async def test_killed_stores_come_back_with_their_data(serve: Callable[..., Serve]) -> None:
    running = serve().wait_ready()
    conn = await connect(running.database_url, application_name="tests")
    await conn.execute("CREATE TABLE kept AS SELECT 7 AS number")
    async with open_redis(running.redis_url) as redis:
        await redis.set("kept", 7)
    for pid in running.store_pids.values():
        kill(pid)

    def again() -> bool:
        """Both, and not the predecessors that are about to vanish."""
        pid_file = running_data(running) / "pg/postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        return lines[7:8] == ["ready   "] and int(lines[0]) != running.store_pids["Postgres"]

    eventually(again, "Postgres ready again")
    conn = await connect(running.database_url, application_name="tests")
    assert await conn.fetchval("SELECT number FROM kept") == 7
    await conn.close()
    async with open_redis(running.redis_url, retries=20) as redis:
        assert await redis.get("kept") == b"7"


def running_data(running: Serve) -> Path:
    return Path(running.redis_url.removeprefix("unix://")).parents[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_gateways_then_worker_then_stores(serve: Callable[..., Serve], number: signal.Signals) -> None:
    running = serve().wait_ready()
    running.process.send_signal(number)
    running.end()
    assert running.process.returncode == 0
    assert [note["role"] for note in running.notes("stopped")] == ["gateway", "gateway", "worker"]
    assert all(note["valkey"] for note in running.notes("stopped"))
    assert running.notes("asked to stop", "worker")[0]["at"] > running.notes("stopped", "gateway")[1]["at"]
    assert [pid for pid in running.pids() if is_alive(pid)] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port))


def test_nothing_outlives_a_killed_parent_and_the_next_start_finds_the_data(serve: Callable[..., Serve]) -> None:
    running = serve().wait_ready()
    assert len(running.pids()) == 6
    running.process.kill()
    running.process.wait()
    again = serve().wait_ready()  # at once: it waits for the orphans
    assert is_alive(again.process.pid)
    eventually(lambda: not any(is_alive(pid) for pid in running.pids()), "an end of all its processes")


def test_a_second_serve_on_the_same_data_folder_is_refused(serve: Callable[..., Serve]) -> None:
    running = serve().wait_ready()
    second = serve()
    said = second.end()
    assert second.process.returncode == 1
    assert f"in use by another synapscale (process {running.process.pid})" in said
    assert "--data-dir" in said
    assert running.ask()


def test_a_taken_port_is_found_out_before_anything_starts(serve: Callable[..., Serve], tmp_path: Path) -> None:
    running = serve().wait_ready()
    second = serve("other", port=running.port)  # shares its port (SO_REUSEPORT) and has the same user
    said = second.end()
    assert second.process.returncode == 1
    assert f"Port {running.port} on 127.0.0.1 is taken" in said
    assert "--port" in said
    assert not (tmp_path / "other").exists()


def test_a_gateway_that_cannot_start_ends_the_start(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "broken"})
    said = running.end()
    assert running.process.returncode == 1
    assert "the stand-in is broken" in said
    assert "ended at its start (status 3)" in said
    assert [pid for pid in running.pids() if is_alive(pid)] == []


def test_a_stubborn_gateway_is_killed_after_its_grace(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "stubborn"}, gateway_grace_s=1.2).wait_ready()
    running.process.terminate()
    said = running.end()
    assert running.process.returncode == 0
    assert "gateway 0 did not stop in time" in said
    assert said.count("finishing open answers for up to 1.2 s; Ctrl-C again cuts and settles them") == 1
    assert [pid for pid in running.pids() if is_alive(pid)] == []


def test_a_second_signal_hurries(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "busy"}, gateway_grace_s=10_000).wait_ready()
    running.process.terminate()
    eventually(lambda: len(running.notes("asked to stop", "gateway")) == 2, "both gateways asked")
    running.process.terminate()
    assert "killed" not in running.end()
    assert running.process.returncode == 0
    assert [note["role"] for note in running.notes("stopped")] == ["gateway", "gateway", "worker"]
    assert [note["signal"] for note in running.notes("asked to stop", "worker")] == [signal.SIGTERM]
    assert [pid for pid in running.pids() if is_alive(pid)] == []


def test_a_third_signal_kills(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "stubborn"}, gateway_grace_s=10_000).wait_ready()
    for asked in (2, 4):
        running.process.terminate()
        eventually(lambda asked=asked: len(running.notes("asked to stop", "gateway")) == asked, "both gateways asked")
    running.process.terminate()
    said = running.end()
    assert "gateway 0 was killed" in said and "in time" not in said
    assert running.process.returncode == 0
    assert [note["role"] for note in running.notes("stopped")] == ["worker"]
    assert [pid for pid in running.pids() if is_alive(pid)] == []


def test_a_signal_while_starting_leaves_nothing(serve: Callable[..., Serve], tmp_path: Path) -> None:
    running = serve()
    eventually((tmp_path / "data/lock").exists, "the beginning of a start")
    running.process.terminate()
    running.end()
    assert running.process.returncode == 0
    assert [pid for pid in running.pids() if is_alive(pid)] == []
    assert serve().wait_ready().ask()


def test_a_signal_ends_the_waiting_for_children(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "silent"}, start_within_s=10_000)
    eventually(lambda: len(running.notes("started")) == 3, "all children started")
    running.process.terminate()
    running.end()
    assert running.process.returncode == 0
    assert [pid for pid in running.pids() if is_alive(pid)] == []


def test_children_that_never_get_ready_are_named(serve: Callable[..., Serve]) -> None:
    running = serve(environment={"STAND_IN_BEHAVIOUR": "silent"}, start_within_s=0.5)
    said = running.end()
    assert running.process.returncode == 1
    assert "Not ready within 0.5 s: worker, gateway 0, gateway 1" in said


def test_children_get_addresses_and_nothing_that_was_not_named(serve: Callable[..., Serve], tmp_path: Path) -> None:
    running = serve(environment={"A_SECRET": "x", "SYNAPSCALE_LOG__LEVEL": "info"}).wait_ready()
    for note in running.notes("started"):
        environment = note["environment"]
        assert "A_SECRET" not in environment
        assert environment["SYNAPSCALE_LOG__LEVEL"] == "info"
        assert environment["DATABASE_URL"] == running.database_url
        assert environment["REDIS_URL"] == running.redis_url
        assert environment["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path / "data/metrics")


def test_gauges_of_a_dead_process_go_and_its_counters_stay(serve: Callable[..., Serve], tmp_path: Path) -> None:
    running = serve(gateways=1).wait_ready()
    pid, metrics = running.ask(), tmp_path / "data/metrics"
    for name in (f"gauge_livesum_{pid}.db", f"counter_{pid}.db"):
        (metrics / name).touch()
    kill(pid)
    running.ask()
    assert [path.name for path in metrics.iterdir()] == [f"counter_{pid}.db"]


def test_orphans_are_collected_and_children_are_not() -> None:
    """In a process of its own: here it would collect what other tests have started."""
    code = (
        "import os, subprocess, time; from proxy.supervisor.supervisor import reap_strangers\n"
        "ours = subprocess.Popen(['sh', '-c', 'exit 5'])\n"
        "os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)\n"
        "reap_strangers({ours.pid}); assert ours.wait() == 5\n"
        "stranger = subprocess.Popen(['true'])\n"
        "os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)\n"
        "reap_strangers({ours.pid}); assert not os.path.exists(f'/proc/{stranger.pid}')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WITHIN_S)
