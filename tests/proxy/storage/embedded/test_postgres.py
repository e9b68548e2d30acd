from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.storage.embedded import postgres as postgres_module
from proxy.storage.embedded.folder import DataFolder
from proxy.storage.embedded.problem import StoreProblem
from proxy.storage.embedded.server import wait_ready
from proxy.storage.embedded.stores import Stores
from proxy.storage.postgres import connect

Start = Callable[..., Stores]


async def test_the_database_has_what_the_schema_may_use(start: Start) -> None:
    pair = start()
    conn = await connect(pair.database_url, application_name="tests")
    wanted = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "listen_addresses": "",
        "fsync": "on",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
    }
    assert {name: await conn.fetchval(f"SHOW {name}") for name in wanted} == wanted
    await conn.execute("CREATE EXTENSION pg_stat_statements")
    await conn.close()


def test_data_of_another_major_version_is_refused_with_the_way_out(start: Start, tmp_path: Path) -> None:
    start().stop()
    version = tmp_path / "data/stores/pg/PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(StoreProblem, match="synapscale restore") as caught:
        start()
    assert "Postgres 14" in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)
    DataFolder(tmp_path / "data").close()  # the refused start let go of everything


def test_a_start_killed_inside_initdb_is_begun_anew(start: Start, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.open_stores()
    (folder.make("pg.init") / "half").write_text("made")
    folder.close()
    pair = start()
    assert not (pair.folder.stores / "pg.init").exists()
    assert not (pair.folder.stores / "pwfile").exists()


def test_a_failing_initdb_leaves_no_data_directory(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "NAME", "pg_not_allowed")  # roles must not begin so
    with pytest.raises(StoreProblem, match="could not create its data"):
        start()
    monkeypatch.undo()
    assert not (tmp_path / "data/stores/pg").exists()
    assert not (tmp_path / "data/stores/pwfile").exists()
    start()


def test_a_folder_with_something_else_in_it_is_left_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data/stores/pg").mkdir(parents=True)
    (tmp_path / "data/stores/pg/thesis.txt").write_text("mine")
    with pytest.raises(StoreProblem, match="neither empty"):
        start()
    assert (tmp_path / "data/stores/pg/thesis.txt").read_text() == "mine"


def test_a_missing_password_is_not_papered_over(start: Start, tmp_path: Path) -> None:
    start().stop()
    (tmp_path / "data/stores/passfile").unlink()
    with pytest.raises(StoreProblem, match="backup"):
        start()


def test_a_server_that_ends_at_its_start_shows_the_end_of_its_log(start: Start, tmp_path: Path) -> None:
    pair = start()
    pair.stop()
    with (tmp_path / "data/stores/pg/postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(StoreProblem, match="no_such_setting"):
        start()


def test_the_ready_line_of_a_killed_predecessor_does_not_count(start: Start) -> None:
    pair = start()
    pid_file = pair.folder.stores / "pg/postmaster.pid"
    ours = pid_file.read_text()
    assert pair.postgres.ready()
    pid_file.write_text(ours.replace(str(pair.processes["Postgres"].pid), "999999", 1))
    assert not pair.postgres.ready()
    pid_file.write_text(ours)


def test_the_waiting_is_bounded_and_can_be_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = start()
    monkeypatch.setattr(pair.postgres, "ready", lambda: False)
    with pytest.raises(StoreProblem, match="did not become ready within 0 s"):
        wait_ready(pair.postgres, pair.processes["Postgres"], within_s=0)
    with pytest.raises(StoreProblem, match="stopped while"):
        wait_ready(pair.postgres, pair.processes["Postgres"], within_s=60, give_up=lambda: True)


@pytest.mark.parametrize("name", ["with space", "ünïcode & more?", "100%"])
async def test_any_folder_name_survives_in_the_addresses(start: Start, tmp_path: Path, name: str) -> None:
    pair = start(tmp_path / name)
    conn = await connect(pair.database_url, application_name="tests")
    assert await conn.fetchval("SELECT current_database()") == "synapscale"
    await conn.close()
    assert os.environ.get("PGPASSFILE") is None
