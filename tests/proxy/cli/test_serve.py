"""`synapscale serve` as a person or a script starts it: a process, its own stores, stopped by a signal."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from proxy.identity.virtual_key import KeyShape, check
from proxy.storage.embedded.stores import Stores
from tests.upstream.plugin import upstream_certificate

__all__ = ["upstream_certificate"]

COMMAND = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--workers", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("")
    return tmp_path


@pytest.fixture
def started(folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def start(folder: Path, started: list[subprocess.Popen[str]], *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, *options], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    started.append(process)
    return process


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    found: dict[str, Any] = json.loads(line)
    return found


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return err


def call(base: str, key: str) -> dict[str, Any]:
    body = {"model": "synapscale/echo", "messages": [{"role": "user", "content": "hi there"}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_in_a_script(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    """One JSON line, the key in a file; the second start gives no key, and the first one still works."""
    process = start(folder, started)
    up = ready(process)
    file = Path(up["key_file"])
    assert file.stat().st_mode & 0o777 == 0o600 and "key" not in up
    key = file.read_text().strip()
    assert check(key) is KeyShape.VIRTUAL
    assert call(up["base_url"], key)["usage"]["prompt_tokens"] == 2
    note = json.loads((folder / ".synapscale/running.json").read_text())
    assert note["url"] + "/v1" == up["base_url"]
    said = stop(process)
    assert key not in said and not (folder / ".synapscale/running.json").exists()
    again = start(folder, started)
    up = ready(again)
    assert call(up["base_url"], key)["choices"]
    stop(again)


def test_print_key(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    process = start(folder, started, "--print-key")
    up = ready(process)
    assert check(up["key"]) is KeyShape.VIRTUAL and "key_file" not in up
    stop(process)
    assert not (folder / ".synapscale/first-key").exists()


def test_on_a_terminal_the_key_is_shown_once_and_not_kept(folder: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(COMMAND, cwd=folder, stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL)
    os.close(terminal)
    text = ""
    try:
        while "Stop " not in text:
            text += os.read(controller, 65536).decode()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        os.close(controller)
    assert not (folder / ".synapscale/first-key").exists()
    assert text.count("sk-syn-") == 2 and "curl http://localhost:" in text  # alone, and in the line to paste


def test_what_runs_is_found_by_commands_beside_it(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    process = start(folder, started)
    ready(process)
    for command, expected in ((["keys", "list"], "first"), (["status"], "ready"), (["doctor"], "✓ partitions")):
        ran = subprocess.run(
            [sys.executable, "-m", "proxy", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0 and expected in ran.stdout, (command, ran)
    stop(process)


def test_second_start_leaves_the_note_of_the_first(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    process = start(folder, started)
    url = ready(process)["base_url"].removesuffix("/v1")
    ran = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "in use" in ran.stderr
    port = str(urlsplit(url).port)
    ran = subprocess.run([*COMMAND, "--port", port], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and f"in use by another synapscale (process {process.pid}), at {url}." in ran.stderr
    assert json.loads((folder / ".synapscale/running.json").read_text())["pid"] == process.pid
    stop(process)
    assert not (folder / ".synapscale/running.json").exists()


def test_note_of_a_killed_one_is_not_believed(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    process = start(folder, started)
    url = ready(process)["base_url"].removesuffix("/v1")
    process.kill()
    process.communicate(timeout=60)
    assert json.loads((folder / ".synapscale/running.json").read_text())["url"] == url
    argv = [sys.executable, "-m", "proxy", "keys", "list"]
    ran = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and url not in ran.stderr
    again = start(folder, started)
    ready(again)
    assert subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout.count("key_") == 1
    stop(again)


def test_own_certificate(
    folder: Path, started: list[subprocess.Popen[str]], upstream_certificate: tuple[Path, Path]
) -> None:
    """Nobody has to be told to trust it on this machine; elsewhere `--ca-file` does."""
    cert, key = map(str, upstream_certificate)
    process = start(folder, started, "--tls-cert-file", cert, "--tls-key-file", key, "--host", "0.0.0.0")
    url = ready(process)["base_url"]
    assert url.startswith("https://localhost:")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "proxy", *command]
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)

    assert "first" in run("keys", "list").stdout
    assert "✓ TLS                on, at https://localhost" in run("doctor").stdout
    stranger = run("keys", "list", "--url", url)
    assert stranger.returncode == 1 and "is not trusted" in stranger.stderr and "--ca-file" in stranger.stderr
    assert "first" in run("keys", "list", "--url", url, "--ca-file", cert).stdout
    stop(process)


@pytest.mark.parametrize("name", ["config.yaml", "."])
def test_data_folder_that_is_none(folder: Path, name: str) -> None:
    ran = subprocess.run([*COMMAND, "--data-dir", name], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and "--data-dir" in ran.stderr and "Traceback" not in ran.stderr
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_port_that_is_taken(folder: Path, started: list[subprocess.Popen[str]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = subprocess.run(
            [*COMMAND, "--port", str(taken.getsockname()[1])], cwd=folder, capture_output=True, text=True, check=False
        )
    assert ran.returncode == 1 and "choose another port with --port" in ran.stderr and ran.stdout == ""


def test_external_postgres_without_a_master_key(folder: Path) -> None:
    ran = subprocess.run(
        COMMAND, cwd=folder, env={**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:9/x"}, capture_output=True,
        text=True, check=False,
    )
    assert ran.returncode == 2 and "SYNAPSCALE_MASTER_KEY" in ran.stderr


def test_external_postgres_that_is_not_there(folder: Path) -> None:
    outside = {"DATABASE_URL": "postgresql://nobody:canary@127.0.0.1:9/x", "SYNAPSCALE_MASTER_KEY": "A" * 43 + "="}
    ran = subprocess.run(
        COMMAND, cwd=folder, env={**os.environ, **outside}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1 and "Postgres cannot be used" in ran.stderr and "DATABASE_URL" in ran.stderr
    assert "canary" not in ran.stderr and "Traceback" not in ran.stderr


def test_a_redis_that_is_away_is_named_at_once(tmp_path: Path, stores: Stores) -> None:
    environment = {
        "DATABASE_URL": stores.database_url, "REDIS_URL": "redis://127.0.0.1:9/0",
        "SYNAPSCALE_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text("{}")
    argv = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--data-dir", str(tmp_path / "data"),
            "--config", str(tmp_path / "config.yaml")]  # fmt: skip
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr and "no connection" in done.stderr
