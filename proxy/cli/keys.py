"""`synapscale keys`: virtual keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.changed import given, set_status, tell, tell_secret
from proxy.cli.client import Api, segment
from proxy.cli.fault import USAGE, Fault
from proxy.cli.moments import ahead
from proxy.cli.names import member, one, workspace, workspace_column, workspace_id
from proxy.cli.options import Expires, Json, Limit, NeverExpires, Workspace, Workspaces, Yes
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
@asking
def create(
    api: Api,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    workspace_name: Workspace = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="E-mail or id. Default: the only member.")] = None,
    llm: Annotated[list[str] | None, typer.Option("--llm", help="Allow only this llm; may be repeated.")] = None,
    expires: Expires = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Import the literal key that is piped in.")] = False,
    as_json: Json = False,
) -> None:
    """Create a key. The key alone goes to stdout, this once: it can be piped into a vault."""
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
        tell_secret(row, "Created", as_json=as_json)
        return
    row.pop("key", None)  # whoever imports it has it; a screen and a log should not
    if as_json:
        show_json(row)
    else:
        talk(f"Imported {row['name']!r} ({row['id']}).")


@app.command("list")
@asking
def list_(api: Api, workspace_name: Workspaces = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List keys, newest first; never the keys themselves."""
    rows = list(api.rows(PATH, limit=limit, workspace_id=workspace_id(api, workspace_name)))
    columns = (*COLUMNS, *workspace_column(api, rows))
    show_rows(rows, columns, as_json=as_json, empty="No keys. Make one: synapscale keys create NAME")


@app.command()
@asking
def show(api: Api, key: Key, workspace_name: Workspaces = None, as_json: Json = False) -> None:
    """Show one key's settings."""
    show_one(_find(api, key, workspace_name), DETAILS, as_json=as_json)


@app.command()
@asking
def update(
    api: Api, key: Key, workspace_name: Workspaces = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    llm: Annotated[list[str] | None, typer.Option("--llm", help="Allow only this llm; may be repeated.")] = None,
    all_llms: Annotated[bool, typer.Option("--all-llms", help="Allow every llm.")] = False,
    expires: Expires = None, never_expires: NeverExpires = False, as_json: Json = False,
) -> None:
    """Change a key's name, its llms or its end. In force at the next request; the secret stays."""
    if (llm and all_llms) or (expires and never_expires):
        raise Fault("Two of these options say the opposite of each other.", code=USAGE)
    wanted: dict[str, Any] = {
        "name": name, "llms": llm or None, "expires_at": ahead(expires, datetime.now(UTC)) if expires else None
    }
    cleared = {field: None for field, wish in (("llms", all_llms), ("expires_at", never_expires)) if wish}
    body = cleared if cleared and not any(wanted.values()) else {**given(wanted), **cleared}
    row = _find(api, key, workspace_name)
    after = api.patch(f"{PATH}/{segment(row['id'])}", body)
    tell(after, f"Changed {after.get('name', key)!r}.", as_json=as_json)


@app.command()
@asking
def block(api: Api, key: Key, workspace_name: Workspaces = None, as_json: Json = False) -> None:
    """Refuse a key from the next request on; running streams end too."""
    row = _find(api, key, workspace_name)
    set_status(api, PATH, row, "block", row["name"], as_json=as_json)


@app.command()
@asking
def unblock(api: Api, key: Key, workspace_name: Workspaces = None, as_json: Json = False) -> None:
    """Accept a blocked key again."""
    row = _find(api, key, workspace_name)
    set_status(api, PATH, row, "unblock", row["name"], as_json=as_json)


@app.command()
@asking
def rotate(
    api: Api, key: Key, workspace_name: Workspaces = None, yes: Yes = False, as_json: Json = False,
) -> None:
    """Replace a key's secret. The new key alone goes to stdout; the old one is refused at once."""
    row = _find(api, key, workspace_name)
    confirm(f"Whoever uses {row['name']!r} now must get the new key. Rotate it?", yes=yes)
    tell_secret(api.post(f"{PATH}/{segment(row['id'])}/rotate"), "Rotated", as_json=as_json)


@app.command()
@asking
def delete(api: Api, key: Key, workspace_name: Workspaces = None, yes: Yes = False) -> None:
    """Delete a key. Its usage stays in the ledger."""
    row = _find(api, key, workspace_name)
    confirm(f"Delete the key {row['name']!r} ({row['id']})?", yes=yes)
    api.delete(f"{PATH}/{segment(row['id'])}")
    talk(f"Deleted {row['id']}.")


def _find(api: Api, key: str, workspace_name: str | None) -> dict[str, Any]:
    return one(api, PATH, "key", key, workspace_id=workspace_id(api, workspace_name))
