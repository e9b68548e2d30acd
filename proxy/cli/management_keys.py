"""`synapscale management-keys`: keys of the management API and of this command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.changed import given, set_status, tell, tell_secret
from proxy.cli.client import Api, segment
from proxy.cli.fault import USAGE, Fault
from proxy.cli.moments import ahead
from proxy.cli.names import one, workspace, workspace_column, workspace_id
from proxy.cli.options import Expires, Json, Limit, NeverExpires, Workspaces, Yes
from proxy.cli.output import Column, show_one, show_rows, talk
from proxy.cli.secrets_in import confirm

app = typer.Typer(no_args_is_help=True, help="Management keys: what this command line and programs administer with.")

PATH = "management-keys"
COLUMNS = (
    Column("ID", "id", whole=True), Column("NAME", "name"), Column("KEY", "hint"), Column("STATUS", "status"),
    Column("ROLE", lambda row: row.get("role") if row.get("workspace_id") else "platform"),
    Column("EXPIRES", "expires_at", spare=2), Column("CREATED", "created_at", spare=3),
)
DETAILS = (*COLUMNS[:4], Column("WORKSPACE", lambda row: row.get("workspace_id") or "all"), *COLUMNS[4:])
Key = Annotated[str, typer.Argument(help="Name or id of the key.")]


@app.command()
@asking
def create(
    api: Api,
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    workspace_name: Annotated[
        str | None, typer.Option("--workspace", "-w", help="Bind it to this workspace: name or id.")
    ] = None,
    platform: Annotated[bool, typer.Option("--platform", help="For the whole deployment: it may do everything.")] = False,
    role: Annotated[
        str | None, typer.Option("--role", help="In the workspace: owner, admin, billing, member or viewer.")
    ] = None,
    expires: Expires = None, as_json: Json = False,
) -> None:
    """Create a management key. The key alone goes to stdout, this once. What a role may do: synapscale roles."""
    body: dict[str, Any] = {"name": name}
    if platform:
        if workspace_name is not None or role is not None:
            raise Fault("A key of the platform has no workspace and no role: it may do everything.", code=USAGE)
        body["role"] = "admin"
    elif role is None:
        raise Fault("Which role?", next_step="--role viewer (synapscale roles), or --platform", code=USAGE)
    else:
        body |= {"workspace_id": workspace(api, workspace_name)["id"], "role": role}
    if expires:
        body["expires_at"] = ahead(expires, datetime.now(UTC))
    tell_secret(api.post(PATH, body), "Created", as_json=as_json)


@app.command("list")
@asking
def list_(api: Api, workspace_name: Workspaces = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List management keys, newest first; never the keys themselves."""
    rows = list(api.rows(PATH, limit=limit, workspace_id=workspace_id(api, workspace_name)))
    show_rows(
        rows, (*COLUMNS, *workspace_column(api, rows)), as_json=as_json,
        empty="No management keys. Make one: synapscale management-keys create NAME --role ROLE",
    )


@app.command()
@asking
def show(api: Api, key: Key, as_json: Json = False) -> None:
    """Show one management key."""
    show_one(_find(api, key), DETAILS, as_json=as_json)


@app.command()
@asking
def update(
    api: Api, key: Key, name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    expires: Expires = None, never_expires: NeverExpires = False, as_json: Json = False,
) -> None:
    """Change a management key's name or its end."""
    if expires and never_expires:
        raise Fault("--expires and --never-expires say the opposite of each other.", code=USAGE)
    body = {"expires_at": None} if never_expires else {}
    wanted = {"name": name, "expires_at": ahead(expires, datetime.now(UTC)) if expires else None}
    if name or expires or not never_expires:
        body |= given(wanted)
    after = api.patch(f"{PATH}/{segment(_find(api, key)['id'])}", body)
    tell(after, f"Changed {after.get('name', key)!r}.", as_json=as_json)


@app.command()
@asking
def block(api: Api, key: Key, as_json: Json = False) -> None:
    """Refuse a management key from the next call on."""
    row = _find(api, key)
    set_status(api, PATH, row, "block", row["name"], as_json=as_json)


@app.command()
@asking
def unblock(api: Api, key: Key, as_json: Json = False) -> None:
    """Accept a blocked management key again."""
    row = _find(api, key)
    set_status(api, PATH, row, "unblock", row["name"], as_json=as_json)


@app.command()
@asking
def rotate(api: Api, key: Key, yes: Yes = False, as_json: Json = False) -> None:
    """Replace its secret. The new key alone goes to stdout; the old one is refused at once."""
    row = _find(api, key)
    confirm(f"Whoever uses {row['name']!r} now must get the new key. Rotate it?", yes=yes)
    tell_secret(api.post(f"{PATH}/{segment(row['id'])}/rotate"), "Rotated", as_json=as_json)


@app.command()
@asking
def delete(api: Api, key: Key, yes: Yes = False) -> None:
    """Delete a management key."""
    row = _find(api, key)
    confirm(f"Delete the management key {row['name']!r} ({row['id']})?", yes=yes)
    api.delete(f"{PATH}/{segment(row['id'])}")
    talk(f"Deleted {row['id']}.")


def _find(api: Api, key: str) -> dict[str, Any]:
    return one(api, PATH, "mk", key)
