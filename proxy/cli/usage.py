"""`synapscale usage`: sums."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.moments import back
from proxy.cli.names import workspace_id
from proxy.cli.options import Json, Workspaces
from proxy.cli.output import Column, show_json, show_rows, talk

SUMS = {
    "requests": "REQUESTS", "errors": "ERRORS", "input_tokens": "IN", "cached_tokens": "CACHED", "output_tokens": "OUT",
    "reasoning_tokens": "REASONING", "list_cost_usd": "LIST USD", "charge_usd": "CHARGE USD",
}

SPARE = {"reasoning_tokens": 4, "cached_tokens": 3, "errors": 2, "charge_usd": 1}  # what a narrow terminal goes without


@asking
def usage(
    api: Api, by: Annotated[
        str,
        typer.Option(
            "--by", help="llm, provider, user_id, virtual_key_id, workspace_id, key_source, day, hour; or several."
        ),
    ] = "llm",
    since: Annotated[str, typer.Option("--from", help="A span (30d), today, a day or a moment.")] = "30d",
    until: Annotated[str | None, typer.Option("--to", help="The last day, or a moment. Default: now.")] = None,
    workspace_name: Workspaces = None, as_json: Json = False,
) -> None:
    """Sum up usage and cost, with a total."""
    now = datetime.now(UTC)
    answer = api.get(
        "usage/summary", group_by=by, workspace_id=workspace_id(api, workspace_name),
        **{"from": back(since, now, whole_hour=True),
           "to": back(until, now, end_of_day=True, whole_hour=True) if until else None},
    )
    if as_json:
        show_json(answer)
        return
    rows: list[dict[str, Any]] = answer.get("data", [])
    groups = by.split(",")
    columns = [Column(group.upper().replace("_", " "), group, whole=True) for group in groups]
    columns += [Column(title, name, right=True, spare=SPARE.get(name, 0)) for name, title in SUMS.items()]
    unpriced = answer.get("total", {}).get("unpriced_requests", 0)
    if unpriced or not sys.stdout.isatty():  # in a pipe a column must not come and go
        columns.append(Column("UNPRICED", "unpriced_requests", right=True))
    if len(rows) > 1 and sys.stdout.isatty():  # a program takes it from --json
        rows = [*rows, {groups[0]: "total", **answer.get("total", {})}]
    empty = "No usage in that time. Make some: synapscale chat synapscale/echo hi"
    show_rows(rows, columns, as_json=False, empty=empty)
    if unpriced:
        talk(f"{unpriced} without a known price: costs are at least these. See synapscale requests list --unpriced.")
    if answer.get("as_of"):
        talk(f"Complete up to {answer['as_of']}.")

