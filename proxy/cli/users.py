"""`synapscale users`: people."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.changed import given, set_status, tell, tell_id
from proxy.cli.client import Api, segment
from proxy.cli.names import one, workspace_id
from proxy.cli.options import Json, Limit, Workspaces
from proxy.cli.output import Column, show_one, show_rows

app = typer.Typer(no_args_is_help=True, help="Users: people and machines that own virtual keys.")

PATH = "users"
COLUMNS = (
    Column("ID", "id", whole=True), Column("EMAIL", "email"), Column("NAME", "name", spare=1), Column("STATUS", "status", spare=2),
    Column("CREATED", "created_at", spare=3),
)
User = Annotated[str, typer.Argument(help="E-mail, name or id.")]


@app.command("list")
@asking
def list_(api: Api, workspace_name: Workspaces = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List users. Their roles: synapscale workspaces members."""
    rows = list(api.rows(PATH, limit=limit, workspace_id=workspace_id(api, workspace_name)))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No users. Make one: synapscale users create EMAIL")


@app.command()
@asking
def create(
    api: Api,
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    name: Annotated[str | None, typer.Option("--name", help="Name to show.")] = None,
    as_json: Json = False,
) -> None:
    """Create a user. The id goes to stdout."""
    body: dict[str, Any] = {"email": email}
    if name is not None:
        body["name"] = name
    row = api.post(PATH, body)
    next_step = f"synapscale workspaces add-member WORKSPACE {row['email']}"
    tell_id(row, f"Created {row['email']}. Next: {next_step}", as_json=as_json)


@app.command()
@asking
def show(api: Api, user: User, as_json: Json = False) -> None:
    """Show a user."""
    show_one(_find(api, user), COLUMNS, as_json=as_json)


@app.command()
@asking
def update(
    api: Api, user: User,
    email: Annotated[str | None, typer.Option("--email", help="Another address.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name to show.")] = None,
    as_json: Json = False,
) -> None:
    """Change a user's address or name."""
    body = given({"email": email, "name": name})
    after = api.patch(f"{PATH}/{segment(_find(api, user)['id'])}", body)
    tell(after, f"Changed {after['email']}.", as_json=as_json)


@app.command()
@asking
def block(api: Api, user: User, as_json: Json = False) -> None:
    """Refuse every key of a user, in all workspaces, from the next request on."""
    row = _find(api, user)
    set_status(api, PATH, row, "block", row["email"], as_json=as_json)


@app.command()
@asking
def unblock(api: Api, user: User, as_json: Json = False) -> None:
    """Let a blocked user's keys work again."""
    row = _find(api, user)
    set_status(api, PATH, row, "unblock", row["email"], as_json=as_json)


def _find(api: Api, user: str) -> dict[str, Any]:
    return one(api, PATH, "user", user, by=("email", "name"))
