"""`synapscale variables`: own provider keys of workspaces and users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api, segment
from proxy.cli.fault import USAGE, Fault
from proxy.cli.moments import ahead
from proxy.cli.names import member, workspace, workspace_column, workspace_id
from proxy.cli.options import Json, Limit, Workspace, Workspaces, Yes
from proxy.cli.output import Column, show_json, show_rows, talk
from proxy.cli.secrets_in import confirm, read_secret

app = typer.Typer(no_args_is_help=True, help="User variables: own provider keys, sealed; used before the global ones.")

PATH = "user-variables"
COLUMNS = (
    Column("ID", "id", whole=True), Column("PROVIDER", "provider"), Column("SCOPE", "scope"), Column("USER", "user_id", spare=1),
    Column("VALUE", "hint"), Column("EXPIRES", "expires_at", spare=2),
    Column("UPDATED", "updated_at", spare=3),
)


@app.command("set")
@asking
def set_(
    api: Api, provider: Annotated[str, typer.Argument(help="Whose key it is: openai, anthropic, …")],
    workspace_name: Workspace = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", help="For this user only. Default: for the whole workspace.")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="90d, 2026-12-31 or a moment.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from a pipe. Default: a prompt.")] = False, as_json: Json = False,
) -> None:
    """Store or replace an own provider key. Nobody can read it again."""
    place = workspace(api, workspace_name)
    where: dict[str, Any] = {"workspace_id": place["id"], "scope": "workspace", "provider": provider}
    if user is not None:
        where |= {"scope": "user", "user_id": member(api, place["id"], user)}
    value: dict[str, Any] = {"value": read_secret(f"Key of {provider}", from_stdin=stdin)}
    if expires:
        value["expires_at"] = ahead(expires, datetime.now(UTC))
    present = next(api.rows(PATH, limit=1, **where), None)
    row = api.post(PATH, where | value) if present is None else api.patch(f"{PATH}/{segment(present['id'])}", value)
    if as_json:
        show_json(row)
    else:
        talk(f"{'Stored' if present is None else 'Replaced'} the key of {provider} ({row['hint']}, {row['id']}).")


@app.command("list")
@asking
def list_(
    api: Api, workspace_name: Workspaces = None, limit: Limit = 100, as_json: Json = False,
) -> None:
    """List own provider keys by their last characters."""
    rows = list(api.rows(PATH, limit=limit, workspace_id=workspace_id(api, workspace_name)))
    empty = "No own provider keys. Store one: synapscale variables set PROVIDER"
    show_rows(rows, (*COLUMNS, *workspace_column(api, rows)), as_json=as_json, empty=empty)


@app.command()
@asking
def delete(
    api: Api, variable: Annotated[str, typer.Argument(help="Its id (uv_…).")], yes: Yes = False,
) -> None:
    """Delete an own provider key. Requests then follow the workspace's key policy without it."""
    if not variable.startswith("uv_"):
        raise Fault(f"{variable!r} is no id.", next_step="synapscale variables list", code=USAGE)
    confirm(f"Delete {variable}?", yes=yes)
    api.delete(f"{PATH}/{segment(variable)}")
    talk(f"Deleted {variable}.")
