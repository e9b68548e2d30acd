"""`synapscale alerts`: what somebody should look at."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.options import Json, Limit
from proxy.cli.output import Column, show_rows

COLUMNS = (
    Column("STATE", "state"), Column("KIND", "kind"), Column("SUBJECT", "subject"), Column("MESSAGE", "message", spare=1),
    Column("FIX", "fix", spare=3), Column("SINCE", lambda row: str(row["created_at"])[:19].replace("T", " "), spare=2, whole=True),
)


@asking
def alerts(
    api: Api, kind: Annotated[str | None, typer.Option("--kind", help="unpriced or dead_letters.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False, limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List alerts that fire, newest first. They end by themselves once their reason does."""
    rows = list(api.rows("alerts", limit=limit, order="desc", kind=kind, state=None if all_ else "firing"))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No alerts.")
