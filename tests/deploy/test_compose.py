"""deploy/compose.yaml against what it starts: commands that exist, settings that load, secrets that come from files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from proxy.cli.main import app
from proxy.cli.serve import SETTLE_S
from proxy.settings.key_files import master_key
from proxy.settings.load import load
from proxy.settings.tree import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"] == "synapscale-gateway"}
GATEWAYS = [name for name in SERVICES if name.startswith("gateway")]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run(["sh", str(ROOT / "deploy/make-secrets.sh"), str(folder)], check=True)
    return folder


def env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def environment(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in service["env_file"]:
        assert name.startswith("secrets/")
        found |= env_file(secrets / name.removeprefix("secrets/"))
    return found | service.get("environment", {})


def settings_of(name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the process in the container loads them: its environment and the options of its command."""
    for variable in list(os.environ):
        if variable.startswith("SYNAPSCALE_") or variable in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(variable)
    for variable, value in environment(OURS[name], secrets).items():
        monkeypatch.setenv(variable, value)
    command, *options = OURS[name]["command"]
    parsed = get_command(app).commands[command].make_context(command, list(options)).params  # type: ignore[attr-defined]
    server = {("server", key): parsed.get(key) for key in ("host", "port", "behind_proxy")}
    return load(ROOT / "config.yaml", server)


def test_the_parts_are_there() -> None:
    assert list(SERVICES) == ["migrate", *GATEWAYS, "worker", "postgres", "valkey"] and len(GATEWAYS) == 2
    for name, each in SERVICES.items():
        assert set(each.get("depends_on", ())) <= set(SERVICES), name
        assert {volume.split(":")[0] for volume in each["volumes"]} <= {*COMPOSE["volumes"], "../config.yaml"}, name
        assert set(each["networks"]) <= set(COMPOSE["networks"]), name


@pytest.mark.parametrize("name", OURS)
def test_settings_load_in_each(name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(name, secrets, monkeypatch)
    assert settings.stores.database_url is not None and settings.stores.redis_url is not None
    assert "@postgres:5432/" in settings.stores.database_url.get_secret_value()
    assert "@valkey:6379/" in settings.stores.redis_url.get_secret_value()
    mounted = [volume for volume in OURS[name]["volumes"] if volume.endswith(f":{settings.stores.data_dir}")]
    assert mounted == ["data:/var/lib/synapscale"]  # one spool for all, so that a worker adopts a dead gateway's
    if name == "worker":
        assert settings.master_key is None
    else:
        assert master_key(settings).key_id


def test_the_config_file_is_where_the_commands_look() -> None:
    for name, each in OURS.items():
        path = each["command"][each["command"].index("--config") + 1]
        assert f"../config.yaml:{path}:ro" in each["volumes"], name


def test_health_checks_ask_where_the_processes_answer(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all("healthcheck" in each for name, each in SERVICES.items() if name != "migrate")
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in (*GATEWAYS, "worker"):
        settings = settings_of(name, secrets, monkeypatch)
        port = settings.worker.port if name == "worker" else settings.server.port
        *command, url = OURS[name]["healthcheck"]["test"]
        assert url == f"http://127.0.0.1:{port}/health/ready"
        assert command == ["CMD", "python", "/opt/synapscale/healthcheck.py"] and command[2] in dockerfile
        if name != "worker":
            assert [each.split(":")[0::2] for each in OURS[name]["ports"]] == [["127.0.0.1", str(port)]]


def test_only_gateways_are_published_and_reach_providers() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name, each in SERVICES.items():
        assert ("ports" in each) == ("outside" in each["networks"]) == (name in GATEWAYS), name


def test_what_ends_a_gateway_leaves_its_streams_their_time(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GATEWAYS:
        grace_s = settings_of(name, secrets, monkeypatch).server.shutdown_grace_s + SETTLE_S
        assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > grace_s


def test_valkey_loses_nothing_and_evicts_nothing() -> None:
    lines = SERVICES["valkey"]["command"][2].splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "dir /data"} <= set(lines)
    assert any(line.startswith("maxmemory ") for line in lines)


def test_postgres_has_room_for_all_pools(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = sum(settings_of(name, secrets, monkeypatch).stores.database_pool for name in (*GATEWAYS, "worker"))
    [room] = re.findall(r"max_connections=(\d+)", " ".join(SERVICES["postgres"]["command"]))
    assert pools + 20 <= int(room)


def test_no_secret_stands_in_the_file(secrets: Path) -> None:
    text = (ROOT / "deploy/compose.yaml").read_text()
    names = {name for file in secrets.iterdir() for name in env_file(file)}
    assert names == {
        "DATABASE_URL", "REDIS_URL", "SYNAPSCALE_MASTER_KEY", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD",
        "VALKEY_PASSWORD",
    }
    assert not re.search(rf"({'|'.join(names)})\s*[:=]", text)


def test_secrets_are_private_and_made_once(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in secrets.iterdir())
    done = subprocess.run(
        ["sh", str(ROOT / "deploy/make-secrets.sh"), str(secrets)], check=True, capture_output=True, text=True
    )
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert "left as they are" in done.stderr
    postgres, stores = env_file(secrets / "postgres.env"), env_file(secrets / "stores.env")
    assert f":{postgres['POSTGRES_PASSWORD']}@postgres:" in stores["DATABASE_URL"]
    assert f":{env_file(secrets / 'valkey.env')['VALKEY_PASSWORD']}@valkey:" in stores["REDIS_URL"]


def test_secrets_are_not_committed() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/gateway.env"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
