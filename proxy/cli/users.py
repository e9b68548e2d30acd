"""`synapscale users`: people."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.client import Api
from proxy.cli.names import one
from proxy.cli.options import DEFAULT_DATA_DIR, DataDir, Json, KeyFile, Limit, Url
from proxy.cli.output import Column, show_json, show_one, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Users: people and machines that own virtual keys.")

COLUMNS = (
    Column("ID", "id", whole=True), Column("EMAIL", "email"), Column("NAME", "name", spare=1), Column("STATUS", "status", spare=2),
    Column("CREATED", "created_at", spare=3),
)


@app.command("list")
def list_(
    limit: Limit = 100, url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List users."""
    rows = list(Api(url, key_file, data_dir).rows("users", limit=limit))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No users. Make one: synapscale users create EMAIL")


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    name: Annotated[str | None, typer.Option("--name", help="Name to show.")] = None,
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Create a user. The id goes to stdout."""
    body: dict[str, Any] = {"email": email}
    if name is not None:
        body["name"] = name
    row = Api(url, key_file, data_dir).post("users", body)
    if as_json:
        show_json(row)
    else:
        print(row["id"])
        talk(f"Created {row['email']}. Next: synapscale workspaces add-member WORKSPACE {row['email']}")


@app.command()
def show(
    user: Annotated[str, typer.Argument(help="E-mail, name or id.")],
    url: Url = None, key_file: KeyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Show a user."""
    row = one(Api(url, key_file, data_dir), "users", "user", user, by=("email", "name"))
    show_one(row, COLUMNS, as_json=as_json)
