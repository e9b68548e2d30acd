"""`synapscale keys`: virtual keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.client import Api, segment
from proxy.cli.moments import ahead
from proxy.cli.names import member, one, workspace, workspace_column, workspace_id
from proxy.cli.options import DEFAULT_DATA_DIR, DataDir, Json, KeyFile, Limit, Url, Workspace, Workspaces, Yes
from proxy.cli.output import Column, show_json, show_one, show_rows, talk
from proxy.cli.secrets_in import confirm, read_secret

app = typer.Typer(no_args_is_help=True, help="Virtual keys: what clients send to the gateway.")

PATH = "virtual-keys"
COLUMNS = (
    Column("ID", "id", whole=True),
    Column("NAME", "name"),
    Column("KEY", "hint"),
    Column("STATUS", "status"),
    Column("LLMS", lambda row: "all" if row.get("llms") is None else row["llms"], spare=1),
    Column("EXPIRES", "expires_at", spare=2),
    Column("CREATED", "created_at", spare=3),
)
DETAILS = (*COLUMNS[:3], Column("WORKSPACE", "workspace_id"), Column("USER", "user_id"), *COLUMNS[3:])
Key = Annotated[str, typer.Argument(help="Name or id of the key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    workspace_name: Workspace = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="E-mail or id. Default: the only member.")] = None,
    llm: Annotated[list[str] | None, typer.Option("--llm", help="Allow only this llm; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="90d, 2026-12-31 or a moment.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Import the literal key that is piped in.")] = False,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Create a key. The key alone goes to stdout, this once: it can be piped into a vault."""
    api = Api(url, key_file, data_dir)
    place = workspace(api, workspace_name)
    body: dict[str, Any] = {"workspace_id": place["id"], "user_id": member(api, place["id"], user), "name": name}
    if llm:
        body["llms"] = llm
    if expires:
        body["expires_at"] = ahead(expires, datetime.now(UTC))
    if stdin:
        body["key"] = read_secret("The key", from_stdin=True)
    row = api.post(PATH, body)
    if not stdin:
        _show_secret(row, "Created", as_json=as_json)
        return
    row.pop("key", None)  # whoever imports it has it; a screen and a log should not
    if as_json:
        show_json(row)
    else:
        talk(f"Imported {row['name']!r} ({row['id']}).")


@app.command("list")
def list_(
    workspace_name: Workspaces = None, limit: Limit = 100,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """List keys, newest first; never the keys themselves."""
    api = Api(url, key_file, data_dir)
    rows = list(api.rows(PATH, limit=limit, workspace_id=workspace_id(api, workspace_name)))
    columns = (*COLUMNS, *workspace_column(api, rows))
    show_rows(rows, columns, as_json=as_json, empty="No keys. Make one: synapscale keys create NAME")


@app.command()
def show(
    key: Key, workspace_name: Workspaces = None,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Show one key's settings."""
    show_one(_find(Api(url, key_file, data_dir), key, workspace_name), DETAILS, as_json=as_json)


@app.command()
def block(
    key: Key, workspace_name: Workspaces = None,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Refuse a key from the next request on; running streams end too."""
    _act(Api(url, key_file, data_dir), key, workspace_name, "block", as_json=as_json)


@app.command()
def unblock(
    key: Key, workspace_name: Workspaces = None,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Accept a blocked key again."""
    _act(Api(url, key_file, data_dir), key, workspace_name, "unblock", as_json=as_json)


@app.command()
def rotate(
    key: Key, workspace_name: Workspaces = None, yes: Yes = False,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Replace a key's secret. The new key alone goes to stdout; the old one is refused at once."""
    api = Api(url, key_file, data_dir)
    row = _find(api, key, workspace_name)
    confirm(f"Whoever uses {row['name']!r} now must get the new key. Rotate it?", yes=yes)
    _show_secret(api.post(f"{PATH}/{segment(row['id'])}/rotate"), "Rotated", as_json=as_json)


@app.command()
def delete(
    key: Key, workspace_name: Workspaces = None, yes: Yes = False,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Delete a key. Its usage stays in the ledger."""
    api = Api(url, key_file, data_dir)
    row = _find(api, key, workspace_name)
    confirm(f"Delete the key {row['name']!r} ({row['id']})?", yes=yes)
    api.delete(f"{PATH}/{segment(row['id'])}")
    talk(f"Deleted {row['id']}.")


def _find(api: Api, key: str, workspace_name: str | None) -> dict[str, Any]:
    return one(api, PATH, "key", key, workspace_id=workspace_id(api, workspace_name))


def _act(api: Api, key: str, workspace_name: str | None, verb: str, *, as_json: bool) -> None:
    row = _find(api, key, workspace_name)
    after = api.post(f"{PATH}/{segment(row['id'])}/{verb}")
    if as_json:
        show_json(after)
    else:
        talk(f"{after.get('name', key)} is {after.get('status', verb)}.")


def _show_secret(row: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        show_json(row)
        return
    print(row["key"])
    talk(f"{done} {row['name']!r} ({row['id']}). The key is shown this once.")
