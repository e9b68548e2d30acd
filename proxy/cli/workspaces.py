"""`synapscale workspaces`: tenants."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.client import Api, segment
from proxy.cli.names import one, workspace
from proxy.cli.options import DEFAULT_DATA_DIR, DataDir, Json, KeyFile, Limit, Url
from proxy.cli.output import Column, show_json, show_one, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Workspaces: who owns keys and is billed.")

COLUMNS = (
    Column("ID", "id", whole=True), Column("NAME", "name"), Column("STATUS", "status"), Column("KEY POLICY", "key_policy", spare=1),
    Column("TIME ZONE", "time_zone", spare=2), Column("CREATED", "created_at", spare=3),
)
MEMBERS = (Column("USER", "user_id"), Column("EMAIL", "email"), Column("NAME", "name"), Column("ROLE", "role"))


@app.command("list")
def list_(
    limit: Limit = 100, url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List workspaces."""
    rows = list(Api(url, key_file, data_dir).rows("workspaces", limit=limit))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No workspaces. Make one: synapscale workspaces create NAME")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name.")],
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Create a workspace. Its id goes to stdout."""
    row = Api(url, key_file, data_dir).post("workspaces", {"name": name})
    if as_json:
        show_json(row)
    else:
        print(row["id"])
        talk(f"Created {row['name']!r}. Next: synapscale workspaces add-member {row['name']} EMAIL")


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Name or id. Default: the only one.")] = None,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Show a workspace."""
    show_one(workspace(Api(url, key_file, data_dir), name), COLUMNS, as_json=as_json)


@app.command()
def members(
    name: Annotated[str | None, typer.Argument(help="Name or id. Default: the only one.")] = None,
    limit: Limit = 100,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """List who belongs to a workspace, with which role."""
    api = Api(url, key_file, data_dir)
    place = workspace(api, name)
    rows = list(api.rows(f"workspaces/{segment(place['id'])}/members", limit=limit))
    show_rows(rows, MEMBERS, as_json=as_json, empty="No members.")


@app.command("add-member")
def add_member(
    name: Annotated[str, typer.Argument(help="Workspace: name or id.")],
    user: Annotated[str, typer.Argument(help="User: e-mail or id.")],
    role: Annotated[str, typer.Option("--role", help="owner, admin, billing, member or viewer.")] = "member",
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Let a user into a workspace."""
    api = Api(url, key_file, data_dir)
    place = workspace(api, name)
    who = one(api, "users", "user", user, by=("email", "name"))
    body: dict[str, Any] = {"user_id": who["id"], "role": role}
    row = api.post(f"workspaces/{segment(place['id'])}/members", body)
    if as_json:
        show_json(row)
    else:
        talk(f"{who.get('email', who['id'])} is {role} of {place['name']!r}.")
