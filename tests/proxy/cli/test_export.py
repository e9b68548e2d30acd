"""`synapscale export` against the real API, and against gateways that send something else than they say."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import http.server
import io
import json
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import format_usd
from proxy.cli.export_check import Seen
from proxy.ledger.partitions import store as partitions
from proxy.storage.postgres import Pool
from tests.proxy.cli.test_requests import write

__all__ = ["write"]
Cli = Callable[..., Awaitable[Any]]
Write = Callable[..., Awaitable[UUID]]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def llms_in(file: Path) -> set[str]:
    return {json.loads(line)["llm"] for line in file.read_text().splitlines()}


@pytest.mark.usefixtures("api")
async def test_a_file_and_its_manifest(cli: Cli, write: Write, tmp_path: Path, pool: Pool) -> None:
    for number in range(3):
        await write(end_user=f'"{number}"\r\nline', list_pusd=3_600_000 + number, line_list_pusd=[1_800_000 + number, 1_800_000])
    ran = await cli("export", "usage-events", "--out", "bill.csv")
    assert (ran.code, ran.out) == (0, ""), ran.err
    content = (tmp_path / "bill.csv").read_bytes()
    manifest = json.loads((tmp_path / "bill.csv.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest() and manifest["rows"] == 3
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["end_user"] for row in rows] == [f'"{number}"\r\nline' for number in range(3)]
    total = await pool.fetchval("SELECT sum(list_pusd)::bigint FROM usage_events")
    assert manifest["sums"]["list_cost_usd"] == format_usd(total)
    assert "3 rows to bill.csv" in ran.err and format_usd(total) in ran.err and "Complete up to 2026-11-24" in ran.err
    assert names(tmp_path) >= {"bill.csv", "bill.csv.manifest.json"} and "bill.csv.part" not in names(tmp_path)


@pytest.mark.usefixtures("api")
async def test_every_kind_in_every_form(cli: Cli, write: Write, tmp_path: Path) -> None:
    await write()
    for kind, rows in (("usage-events", 1), ("billing-events", 1), ("daily", 3)):
        for options in ((), ("--gzip",), ("--format", "jsonl"), ("--format", "jsonl", "--gzip")):
            ran = await cli("export", kind, *options, "--json", "--force")
            assert ran.code == 0, ran.err
            name = f"{kind}.{'jsonl' if 'jsonl' in options else 'csv'}{'.gz' if '--gzip' in options else ''}"
            assert ran.json["rows"] == rows and ran.json == json.loads((tmp_path / f"{name}.manifest.json").read_text())
            content = (tmp_path / name).read_bytes()
            plain = gzip.decompress(content) if "--gzip" in options else content
            assert len(plain.splitlines()) == rows + (0 if "jsonl" in options else 1)


@pytest.mark.usefixtures("api")
async def test_nothing_is_written_over(cli: Cli, write: Write, tmp_path: Path) -> None:
    await write()
    (tmp_path / "daily.csv").write_text("mine")
    ran = await cli("export", "daily")
    assert ran.code == 2 and "daily.csv is there already" in ran.err and "--force" in ran.err
    assert (tmp_path / "daily.csv").read_text() == "mine"
    assert (await cli("export", "daily", "--force")).code == 0
    (tmp_path / "daily.csv").unlink()
    assert "daily.csv.manifest.json is there already" in (await cli("export", "daily")).err
    assert (await cli("export", "daily", "--out", "no/such/folder.csv")).code == 2


@pytest.mark.usefixtures("api")
async def test_filters_and_times(cli: Cli, write: Write, tmp_path: Path, pool: Pool) -> None:
    async with pool.acquire() as db:
        await partitions.ensure(db, {datetime.now(UTC).date() - timedelta(days=days) for days in (3, 4)})
    (user,) = (await cli("users", "list", "--json")).json
    (key,) = (await cli("keys", "list", "--json")).json
    both = {"gpt-4o-mini", "other"}
    await write()
    await write(timedelta(days=3), llm="other", provider="mistral", key_source="user")
    for kind in ("usage-events", "daily"):
        for options, llms in (
            (("--from", "2d"), {"gpt-4o-mini"}), (("--from", "30d", "--to", "2d"), {"other"}), (("--llm", "other"), {"other"}),
            (("--provider", "openai"), {"gpt-4o-mini"}), (("--key-source", "user"), {"other"}),
            (("--user", user["email"]), both), (("--virtual-key", key["id"]), both), (("--workspace", "default"), both),
            (("--user", "user_" + "0" * 32), set()),
        ):
            ran = await cli("export", kind, "--format", "jsonl", "--force", "--out", "x.jsonl", *options)
            assert ran.code == 0, (options, ran.err)
            assert llms_in(tmp_path / "x.jsonl") == llms, options
    assert (await cli("export", "daily", "--workspace", "nobody", "--out", "y")).code == 2
    assert (await cli("export", "everything", "--out", "y")).code == 2
    assert (await cli("export", "daily", "--key-source", "nobody", "--out", "y")).code == 1
    assert not names(tmp_path) & {"y", "y.part", "y.manifest.json"}


@pytest.mark.usefixtures("api")
async def test_to_standard_output(cli: Cli, write: Write, api: str, tmp_path: Path) -> None:
    await write()
    ran = await cli("export", "daily", "--out", "-", "--json")
    assert ran.code == 2
    done = await _run("export", "daily", "--out", "-", "--url", api, cwd=tmp_path)
    assert done[0] == 0 and done[1].startswith(b"day,workspace_id,") and done[1].count(b"\r\n") == 4
    assert b"3 rows to standard output" in done[2] and not any("csv" in name for name in names(tmp_path))


async def _run(*arguments: str, cwd: Path) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", *arguments, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out, err


# ---- a gateway that does not keep its word

BODY = b"day,unit\r\n2026-01-01,input\r\n"
MANIFEST = {"rows": 1, "bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest(), "sums": {}}


class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = BODY
    manifest: Any = MANIFEST
    ends = True

    def do_GET(self) -> None:
        if "daily" in self.path:
            self.send_response(200)
            self.send_header("x-synapscale-export-id", "exp_" + "0" * 32)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(self.body), self.body))
            if self.ends:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True
            return
        answer = json.dumps({"manifest": self.manifest}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Liar]]:
    class Handler(Liar):
        pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SYNAPSCALE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-x")
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


async def test_what_arrived_is_held_against_the_manifest(cli: Cli, liar: type[Liar], tmp_path: Path) -> None:
    assert (await cli("export", "daily", "--out", "good.csv")).code == 0
    for manifest, said in (
        ({**MANIFEST, "sha256": "0" * 64}, "sha256"), ({**MANIFEST, "rows": 2}, "rows"), ({**MANIFEST, "bytes": 1}, "bytes"),
        (None, "no manifest"),
    ):
        liar.manifest = manifest
        ran = await cli("export", "daily", "--out", "bad.csv")
        assert ran.code == 1 and said in ran.err
    assert names(tmp_path) == {"good.csv", "good.csv.manifest.json"}


async def test_a_file_that_broke_off_is_not_kept(cli: Cli, liar: type[Liar], tmp_path: Path) -> None:
    liar.ends = False
    ran = await cli("export", "daily", "--out", "bad.csv")
    assert ran.code == 1 and "broke off" in ran.err
    assert names(tmp_path) == set()


@given(st.lists(st.text(alphabet='a",\r\n='), min_size=1, max_size=20), st.integers(0, 10**6), st.booleans())
def test_rows_are_counted_however_the_bytes_are_cut(cells: list[str], seed: int, packed: bool) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows([["head"], *([cell, "x"] for cell in cells)])
    content = gzip.compress(out.getvalue().encode()) if packed else out.getvalue().encode()
    seen, place, dice = Seen(csv=True, gzip=packed), 0, random.Random(seed)
    while place < len(content):
        size = dice.randint(1, 9)
        seen.see(content[place : place + size])
        place += size
    assert seen.rows == len(cells) and seen.size == len(content)
    assert seen.sha256 == hashlib.sha256(content).hexdigest()
