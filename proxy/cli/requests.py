"""`synapscale requests`: usage events, one per attempt."""

from __future__ import annotations

import json
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.basis_points import percent
from proxy.cli.client import Api, segment
from proxy.cli.fault import Fault
from proxy.cli.names import workspace_column, workspace_id
from proxy.cli.options import Json, Limit, Workspaces
from proxy.cli.output import Column, Row, cell, show_json, show_one, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Requests: what every attempt used and cost.")

PATH = "usage/events"
# Up to the first that may be spared they fit into 80 columns.
COLUMNS = (
    Column("ID", "id", whole=True),
    Column("TIME", lambda row: moment(row), spare=2, whole=True),
    Column("LLM", "llm"),
    Column("PROVIDER", "provider", spare=6),
    Column("KEY", "key_source", spare=7),
    Column("IN", "input_tokens", right=True, spare=4),
    Column("CACHED", "cached_tokens", right=True, spare=8),
    Column("OUT", "output_tokens", right=True, spare=3),
    Column("LIST USD", lambda row: usd(row), right=True, whole=True),
    Column("OUTCOME", lambda row: outcome(row), spare=1),
    Column("MS", "latency_ms", right=True, spare=5),
)
DETAILS = tuple(
    Column(title, value) for title, value in (
        ("ID", "id"), ("REQUEST", "request_id"), ("TIME", "occurred_at"), ("WORKSPACE", "workspace_id"),
        ("USER", "user_id"), ("VIRTUAL KEY", "virtual_key_id"), ("END USER", "end_user"), ("LLM", "llm"),
        ("PROVIDER", "provider"), ("UPSTREAM MODEL", "upstream_model"), ("SURFACE", "surface"), ("STREAM", "stream"),
        ("KEY SOURCE", "key_source"), ("OUTCOME", "outcome"), ("UPSTREAM STATUS", "upstream_status"),
        ("ERROR CODE", "error_code"), ("UPSTREAM REQUEST", "upstream_request_id"), ("USAGE SOURCE", "usage_source"),
        ("SERVICE TIER", "service_tier"), ("PROCESSING", "processing"),
        ("USAGE INCONSISTENT", "usage_inconsistent"), ("INPUT TOKENS", "input_tokens"), ("CACHED TOKENS", "cached_tokens"),
        ("OUTPUT TOKENS", "output_tokens"), ("REASONING TOKENS", "reasoning_tokens"), ("PRICING", "pricing"),
        ("LIST COST USD", lambda row: lower_bound(row, "list_cost_usd")),
        ("CHARGE USD", lambda row: lower_bound(row, "charge_usd")), ("CHARGED", lambda row: charged(row)),
        ("CORRECTED", "corrected"), ("USAGE AS REPORTED", "raw_usage"), ("LATENCY MS", "latency_ms"),
        ("FIRST TOKEN MS", "first_token_ms"),
    )
)
LINES = (
    Column("UNIT", "unit"), Column("QUANTITY", "quantity", right=True),
    Column("LIST USD", "list_cost_usd", right=True), Column("CHARGE USD", "charge_usd", right=True),
    Column("PRICE USD", lambda row: price_of(row), right=True), Column("PRICE OF", lambda row: price_source(row), spare=1),
)
NO_PRICE = "no price"
ALWAYS = "1970-01-01"  # the beginning of prices without one
SEEN = 5_000  # ids that `tail` remembers


def moment(row: Row) -> str:
    """To the second, UTC. A terminal has no room for the year."""
    text = str(row.get("occurred_at", ""))[:19].replace("T", " ")
    return text[5:] if sys.stdout.isatty() else text


def usd(row: Row) -> str:
    """An unknown price is not zero."""
    return "unpriced" if row.get("pricing") == "unpriced" else str(row.get("list_cost_usd", ""))


def lower_bound(row: Row, field: str) -> str:
    """What is free stays free, whatever the price is."""
    known = str(row.get(field, ""))
    if row.get("pricing") != "unpriced" or (field == "charge_usd" and row.get("charge_kind") == "none"):
        return known
    return NO_PRICE if not known.strip("0.") else f"{known} and a part with {NO_PRICE}"


def lines_of(row: Row) -> list[Row]:
    """A line without a price says so where the amount would stand."""
    lines: list[Row] = row.get("lines", [])
    if row.get("pricing") != "unpriced":
        return lines
    unknown = {"list_cost_usd": NO_PRICE}
    if row.get("charge_kind") != "none":
        unknown["charge_usd"] = NO_PRICE
    return [line if line.get("price_item_id") else {**line, **unknown} for line in lines]


def charged(row: Row) -> str:
    """The rule that makes a line's charge of its list cost."""
    kind, bps = row.get("charge_kind"), int(row.get("charge_bps", 0))
    if kind == "none":
        return f"nothing ({row.get('charge_reason')})"
    return f"{'fee on an own key' if kind == 'platform_fee' else 'usage'}, {percent(bps)} of list"


def price_of(line: Row) -> str:
    """As config.yaml writes it: per million tokens, or per thing."""
    price = line.get("price")
    if not price:
        return ""
    minimum = price["minimum_units"]
    return f"{price['price']}{f', at least {minimum}' if minimum else ''}"


def price_source(line: Row) -> str:
    """Whose price, since when, who says so."""
    price = line.get("price")
    if not price:
        return ""
    since = str(price["effective_from"])[:10]
    return f"{price['upstream_model']}{'' if since == ALWAYS else f' since {since}'}, {price['source']}"


def with_prices(row: Row, lines: list[Row]) -> list[Row]:
    prices = {price["id"]: price for price in row.get("prices", [])}
    return [{**line, "price": prices.get(line.get("price_item_id"))} for line in lines]


def outcome(row: Row) -> str:
    """How it ended, and whether the numbers are the provider's own."""
    source = row.get("usage_source")
    return f"{row.get('outcome', '')}{'' if source == 'provider' else f' ({source})'}"


@app.command("list")
@asking
def list_(
    api: Api, workspace_name: Workspaces = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Only this llm.")] = None,
    unpriced: Annotated[bool, typer.Option("--unpriced", help="Only those whose price is not known.")] = False,
    limit: Limit = 20, as_json: Json = False,
) -> None:
    """List attempts, newest first."""
    rows = list(api.rows(
        PATH, limit=limit, order="desc", llm=llm, workspace_id=workspace_id(api, workspace_name),
        pricing="unpriced" if unpriced else None,
    ))  # fmt: skip
    empty = "No requests yet. Make one: synapscale chat synapscale/echo hi"
    if unpriced or llm or workspace_name:
        empty = "No such requests."
    show_rows(rows, (*COLUMNS, *workspace_column(api, rows)), as_json=as_json, empty=empty)


@app.command()
@asking
def show(
    api: Api, event: Annotated[str, typer.Argument(help="Id of the attempt (att_…) or of its request (req_…).")], as_json: Json = False,
) -> None:
    """Show what an attempt used, line by line."""
    if event.startswith("req_"):
        found = sorted(api.rows(PATH, limit=100, request_id=event), key=lambda row: int(row["attempt_number"]))
        rows = [api.get(f"{PATH}/{segment(row['id'])}") for row in found]
        if not rows:
            raise Fault(
                f"No attempt of {event} is in the ledger. A new one takes a second to arrive; a request that the gateway "
                "refused is never recorded: nothing was used, and its answer said why."
            )
    else:
        rows = [api.get(f"{PATH}/{segment(event)}")]
    if as_json:
        show_json(rows if event.startswith("req_") else rows[0])
        return
    for row in rows:
        show_one(row, DETAILS, as_json=False)
        show_rows(with_prices(row, lines_of(row)), LINES, as_json=False, empty="No lines: nothing was counted.")


@app.command()
@asking
def tail(
    api: Api, workspace_name: Workspaces = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Only this llm.")] = None,
    every: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")] = 1.0, as_json: Json = False,
) -> None:
    """Print attempts as they reach the ledger, until Ctrl-C. With --json, one object per line."""
    query = {"order": "desc", "llm": llm, "workspace_id": workspace_id(api, workspace_name)}
    seen: OrderedDict[str, None] = OrderedDict()
    for row in api.get(PATH, limit=100, **query).get("data", []):
        seen[row["id"]] = None
    if sys.stderr.isatty():
        talk("Waiting for requests; Ctrl-C ends.")
    try:
        while True:
            # Not `after` the last id: an attempt's id is its beginning, and a long one ends after many younger ones.
            for row in reversed(api.get(PATH, limit=100, **query).get("data", [])):
                if row["id"] not in seen:
                    _tell(row, as_json=as_json)
                seen[row["id"]] = None
            while len(seen) > SEEN:
                seen.popitem(last=False)
            time.sleep(every)
    except KeyboardInterrupt:
        return


def _tell(row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        text = json.dumps(row, ensure_ascii=False)
    else:
        text = ("  " if sys.stdout.isatty() else "\t").join(cell(row, column) for column in COLUMNS)
    print(text, flush=True)
