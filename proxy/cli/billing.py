"""`synapscale billing`: the ledger's entries, and what is given back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from proxy.cli.asking import asking
from proxy.cli.changed import given, tell_id
from proxy.cli.client import Api
from proxy.cli.moments import back
from proxy.cli.names import workspace, workspace_column, workspace_id
from proxy.cli.options import Json, Limit, Workspaces
from proxy.cli.output import Column, show_rows

app = typer.Typer(no_args_is_help=True, help="The ledger: who owes what, refunds, credits.")

PATH = "billing/events"
COLUMNS = (
    Column("ID", "id", whole=True),
    Column("TIME", lambda row: str(row["created_at"])[:19].replace("T", " "), spare=1, whole=True),
    Column("KIND", "kind"), Column("USD", "amount_usd", right=True, whole=True), Column("ATTEMPT", "attempt_id", spare=2),
    Column("CORRECTS", "corrects", spare=4), Column("REASON", "reason", spare=3),
)
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger.")]


@app.command("list")
@asking
def list_(
    api: Api, workspace_name: Workspaces = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="usage, platform_fee, adjustment, refund or credit.")
    ] = None,
    attempt: Annotated[str | None, typer.Option("--attempt", help="Only of this attempt (att_…).")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Attempts since: a span (30d), today, a day or a moment.")] = None,
    limit: Limit = 20, as_json: Json = False,
) -> None:
    """List entries of the ledger, newest first."""
    rows = list(api.rows(
        PATH, limit=limit, order="desc", workspace_id=workspace_id(api, workspace_name), kind=kind, attempt_id=attempt,
        **{"from": back(since, datetime.now(UTC)) if since else None},
    ))  # fmt: skip
    show_rows(rows, (*COLUMNS, *workspace_column(api, rows)), as_json=as_json, empty="No entries.")


@app.command()
@asking
def refund(
    api: Api, attempt: Annotated[str, typer.Argument(help="Id of the attempt (att_…).")], reason: Reason,
    amount: Annotated[str | None, typer.Option("--amount", help="USD, such as 0.25. Default: all that is still owed.")] = None,
    as_json: Json = False,
) -> None:
    """Give back what an attempt was charged, or a part of it. Its usage stays as it is."""
    entry = api.post("billing/refunds", given({"attempt_id": attempt, "amount_usd": amount, "reason": reason}))
    tell_id(entry, f"{entry['amount_usd'].removeprefix('-')} USD refunded.", as_json=as_json)


@app.command()
@asking
def credit(
    api: Api, name: Annotated[str, typer.Argument(help="Workspace: name or id.")],
    amount: Annotated[str, typer.Argument(help="USD, such as 25.00: what it owes less.")], reason: Reason, as_json: Json = False,
) -> None:
    """Give a workspace a credit."""
    place = workspace(api, name)
    entry = api.post("billing/credits", {"workspace_id": place["id"], "amount_usd": amount, "reason": reason})
    tell_id(entry, f"{place['name']!r} owes {entry['amount_usd'].removeprefix('-')} USD less.", as_json=as_json)
