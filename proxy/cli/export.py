"""`synapscale export`: a file for finance, and its manifest, both checked as they arrive."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import urlencode

import typer

from proxy.cli.client import Api, Connection, refused, segment, unreachable
from proxy.cli.export_check import Seen
from proxy.cli.fault import USAGE, Fault
from proxy.cli.moments import back
from proxy.cli.names import member, workspace_id
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, Json, KeyFile, Url, Workspaces
from proxy.cli.output import show_json, talk
from proxy.cli.where import gateway, management_key

PIECE = 64 * 1024
STDOUT = Path("-")


class Kind(StrEnum):
    USAGE_EVENTS = "usage-events"
    BILLING_EVENTS = "billing-events"
    DAILY = "daily"


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def export(
    kind: Annotated[Kind, typer.Argument(help="Attempts, entries of the ledger, or sums by day.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; - is standard output. Default: KIND.csv, KIND.jsonl.gz, …")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="A span (30d), today, a day or a moment. Default: all.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The last day, or a moment. Default: all.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="CSV, or a JSON object per line.")] = Format.CSV,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compressed.")] = False,
    workspace_name: Workspaces = None,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user: e-mail or id.")] = None,
    virtual_key: Annotated[str | None, typer.Option("--virtual-key", help="Only by this virtual key: id.")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Only this llm.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Only this provider.")] = None,
    key_source: Annotated[str | None, typer.Option("--key-source", help="user, workspace or global.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    url: Url = None, key_file: KeyFile = None, ca_file: CaFile = None, data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Write usage, the ledger or daily sums to a file, with FILE.manifest.json beside it. Both are checked."""
    name = f"{kind.value}.{format_.value}{'.gz' if gzip else ''}"
    file = Path(name) if out is None else out
    if file == STDOUT and as_json:
        raise Fault("Standard output cannot take the file and its manifest.", next_step="--out FILE", code=USAGE)
    _require_free(file, force=force)
    place = gateway(url, ca_file, data_dir)
    secret = management_key(key_file, data_dir)
    api = Api(place, secret)
    now, days = datetime.now(UTC), kind is Kind.DAILY
    workspace = workspace_id(api, workspace_name)
    query = {
        "from": _day(back(since, now), days=days) if since else None,
        "to": _day(back(until, now, end_of_day=True), days=days) if until else None, "format": format_.value,
        "gzip": "true" if gzip else None, "workspace_id": workspace,
        "user_id": member(api, workspace or "", user) if user else None, "virtual_key_id": virtual_key, "llm": llm,
        "provider": provider, "key_source": key_source,
    }  # fmt: skip
    seen = Seen(csv=format_ is Format.CSV, gzip=gzip)
    connection = Connection(place, secret)
    with _target(file) as target:
        id = _fetch(connection, kind, query, target, seen)
        manifest = _checked(api.get(f"exports/{segment(id)}").get("manifest"), seen)
    if file != STDOUT:
        _write(file.with_name(f"{file.name}.manifest.json"), manifest)
    if as_json:
        show_json(manifest)
    where = "standard output" if file == STDOUT else str(file)
    sums = ", ".join(f"{name} {value}" for name, value in manifest["sums"].items() if value is not None)
    talk(f"{manifest['rows']} rows to {where}; {sums}.")
    if manifest.get("as_of"):
        talk(f"Complete up to {manifest['as_of']}.")


def _require_free(file: Path, *, force: bool) -> None:
    if file == STDOUT:
        if sys.stdout.isatty():
            raise Fault("Standard output is a terminal.", next_step="--out FILE, or | into a program", code=USAGE)
        return
    for path in (file, file.with_name(f"{file.name}.manifest.json")):
        if path.exists() and not force:
            raise Fault(f"{path} is there already.", next_step="--out ANOTHER, or --force", code=USAGE)


def _day(moment: str, *, days: bool) -> str:
    """Sums are of whole days: a span begins with the day that it begins in."""
    return moment[:10] if days else moment


def _fetch(connection: Connection, kind: Kind, query: dict[str, Any], target: BinaryIO, seen: Seen) -> str:
    """The id of the export. What comes is written and counted, piece by piece."""
    given = urlencode({name: value for name, value in query.items() if value is not None})
    answer = connection.send("GET", f"/api/v1/exports/{kind.value}?{given}", headers={"Accept": "*/*"})
    try:
        if answer.status >= 300:
            raise refused(answer, answer.read())
        while piece := answer.read(PIECE):
            seen.see(piece)
            target.write(piece)
        target.flush()
    except http.client.IncompleteRead:
        raise Fault("The export broke off: what came is not whole.", next_step="the same again") from None
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise unreachable(connection.base, error) from None
    finally:
        connection.close()
    id = answer.headers.get("x-synapscale-export-id")
    if id is None:
        raise Fault(f"{connection.base} answered something that is no export.", next_step="another address with --url")
    return id


def _checked(manifest: Any, seen: Seen) -> dict[str, Any]:
    if not isinstance(manifest, dict):
        raise Fault("The gateway has no manifest of this export: it is not whole.", next_step="the same again")
    for name, here in (("bytes", seen.size), ("sha256", seen.sha256), ("rows", seen.rows)):
        if manifest.get(name) != here:
            raise Fault(f"The file is not the one that was sent: {name} is {here}, its manifest says {manifest.get(name)}.")
    return manifest


@contextmanager
def _target(file: Path) -> Iterator[BinaryIO]:
    """A file gets its name only once it was checked."""
    if file == STDOUT:
        yield sys.stdout.buffer
        return
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target:
            yield target
        os.replace(part, file)
    except OSError as error:
        raise Fault(f"{file}: {error.strerror or error}.", next_step="--out FILE", code=USAGE) from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _write(path: Path, manifest: Any) -> None:
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
