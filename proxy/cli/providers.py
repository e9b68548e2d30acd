"""`synapscale providers`: who runs llms, and with whose key."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.names import one
from proxy.cli.options import Json, Limit
from proxy.cli.output import Column, Row, show_one, show_rows

app = typer.Typer(no_args_is_help=True, help="Providers: who runs llms, and whether the gateway has their key.")

PATH = "providers"


def key(row: Row) -> str:
    if row.get("auth") == "none":
        return "none needed"
    return "global" if row.get("has_global_key") else "own keys only"


COLUMNS = (
    Column("NAME", "name", whole=True), Column("KEY", key), Column("BASE URL", "base_url"),
    Column("DIALECT", "dialect", spare=1), Column("MANAGED BY", "managed_by", spare=2),
)
DETAILS = (*COLUMNS, Column("ID", "id"), Column("STATUS", "status"), Column("CREATED", "created_at"))


@app.command("list")
@asking
def list_(api: Api, limit: Limit = 1_000, as_json: Json = False) -> None:
    """List providers. KEY `own keys only`: reached only by callers who stored an own key (synapscale variables set)."""
    rows = sorted(api.rows(PATH, limit=limit), key=lambda row: str(row["name"]))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No providers. config.yaml names them.")


@app.command()
@asking
def show(
    api: Api, name: Annotated[str, typer.Argument(help="Name or id of the provider.")], as_json: Json = False,
) -> None:
    """Show a provider."""
    show_one(one(api, PATH, "prov", name), DETAILS, as_json=as_json)
