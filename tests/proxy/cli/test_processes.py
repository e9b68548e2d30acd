"""`synapscale gateway` with something wrong: a sentence, an exit code, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.upstream import certificate

MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config.yaml").write_text("")
    return {
        **os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "SYNAPSCALE_MASTER_KEY": MASTER_KEY,
        "SYNAPSCALE_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip


def run(folder: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "proxy", "gateway", "--port", "0", *options]
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr and "canary" not in done.stderr, done.stderr
    return done


def test_wrong_password_of_the_database(tmp_path: Path, environment: dict[str, str], database_url: str) -> None:
    parts = urlsplit(database_url)
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("passfile="))
    wrong = urlunsplit(parts._replace(netloc="synapscale:canary@", query=query))
    done = run(tmp_path, environment | {"DATABASE_URL": wrong})
    assert done.returncode == 1
    assert "Error: Postgres cannot be used: password authentication failed" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_port_that_is_taken(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, environment, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1 and "is taken by another program" in done.stderr and "--port" in done.stderr


@pytest.mark.parametrize("url", ["redis://h/canary", "rediss://h/0?ssl_ca_certs=/no/such/file"])
def test_redis_url(tmp_path: Path, environment: dict[str, str], url: str) -> None:
    done = run(tmp_path, environment | {"REDIS_URL": url})
    assert done.returncode == 2 and done.stderr.startswith("Error: REDIS_URL: stores.redis_url: ")


def test_key_of_another_certificate(tmp_path: Path, environment: dict[str, str]) -> None:
    (cert, _), (_, key) = certificate.make(tmp_path / "one"), certificate.make(tmp_path / "two")
    done = run(tmp_path, environment, "--tls-cert-file", str(cert), "--tls-key-file", str(key))
    assert done.returncode == 2
    assert done.stderr == f"Error: --tls-key-file: server.tls_key_file: {key} is not the key of the certificate in {cert}.\n"


@pytest.mark.usefixtures("started")
def test_spool_that_cannot_be_made(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "data").write_text("in the way")
    done = run(tmp_path, environment)
    assert done.returncode == 1 and "spool" in done.stderr
