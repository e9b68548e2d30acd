"""`synapscale llms`, also as `models`: what clients may name, where it runs, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import typer

from pricing.units import UNITS
from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.names import one
from proxy.cli.options import Json, Limit
from proxy.cli.output import Column, Row, show_json, show_one, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Llms: what clients name as `model`, where it runs, what it costs.")

PATH = "llms"
MILLION = 1_000_000
NO_PRICE, STANDARD = "unpriced", "standard"
NARROWED = ("variant", "service_tier", "processing", "above_input_tokens", "hours")


def usd_per(price: Row) -> str:
    """Tokens per million of them, as providers say it; counted things by one. Exact."""
    usd = Decimal(price["usd"]) / price["per_units"]
    if _is_token(price["unit"]):
        usd *= MILLION
    text = f"{usd:f}"
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    return f"{whole}.{part:0<2}"


def first_price(unit: str) -> Any:
    """Of the first route: the standard tier, all day, without a cliff. Empty where that unit has none."""

    def of(row: Row) -> str:
        prices = row["routes"][0]["prices"] if row["routes"] else None
        if prices is None:
            return NO_PRICE if unit == "input" else ""
        found = [
            price for price in prices
            if price["unit"] == unit and not any(price[name] for name in NARROWED)
        ]
        return usd_per(found[0]) if found else ""

    return of


COLUMNS = (
    Column("NAME", "name", whole=True),
    Column("PROVIDERS", lambda row: [route["provider"] for route in row["routes"]], spare=2),
    Column("CONTEXT", "context_window", right=True, spare=3),
    Column("MAX OUTPUT", "max_output", right=True, spare=5),
    Column("IN $/M", first_price("input"), right=True),
    Column("CACHED $/M", first_price("cache_read"), right=True, spare=4),
    Column("OUT $/M", first_price("output"), right=True),
)
DETAILS = (
    Column("NAME", "name"), Column("ID", "id"), Column("CONTEXT WINDOW", "context_window"),
    Column("MAX OUTPUT", "max_output"), Column("MANAGED BY", "managed_by"), Column("STATUS", "status"),
)
PRICES = (
    Column("PROVIDER", "provider"), Column("MODEL THERE", "upstream_model"), Column("UNIT", "unit"),
    Column("TIER", "tier", spare=2), Column("INPUT ABOVE", "above", right=True, spare=3), Column("USD", "usd", right=True),
    Column("PER", "per"), Column("SOURCE", "source", spare=1),
)


@app.command("list")
@asking
def list_(api: Api, limit: Limit = 1_000, as_json: Json = False) -> None:
    """List llms with their prices: US dollars per million tokens at the first provider, standard tier."""
    rows = sorted(api.rows(PATH, limit=limit), key=lambda row: str(row["name"]))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No llms. config.yaml names them.")


@app.command()
@asking
def show(
    api: Api, name: Annotated[str, typer.Argument(help="Name or id of the llm.")],
    tiers: Annotated[bool, typer.Option("--tiers", help="Also prices of batches and of other service tiers.")] = False,
    as_json: Json = False,
) -> None:
    """Show an llm with its prices at every provider."""
    row = one(api, PATH, "llm", name)
    if as_json:
        show_json(row)
        return
    show_one(row, DETAILS, as_json=False)
    prices = list(_prices(row))
    shown = [price for price in prices if tiers or not price.get("elsewhere")]
    show_rows(shown, PRICES, as_json=False, empty="No providers.")
    if len(shown) < len(prices):
        talk(f"{len(prices) - len(shown)} more for batches and other service tiers: --tiers shows them.")
    if any(route["prices"] is None for route in row["routes"]):
        talk("Without a price, usage is recorded as unpriced. Add `price` to the llm in config.yaml, or: synapscale prices set")


def _prices(row: Row) -> Iterator[Row]:
    for route in row["routes"]:
        where = {"provider": route["provider"], "upstream_model": route["upstream_model"], "source": route["price_source"]}
        if route["prices"] is None:
            yield {**where, "usd": NO_PRICE}
        for price in route["prices"] or ():
            yield {
                **where, "unit": "/".join(filter(None, (price["unit"], price["variant"]))), "tier": _tier(price),
                "elsewhere": bool(price["service_tier"] or price["processing"]),
                "above": price["above_input_tokens"] or None, "usd": usd_per(price),
                "per": "million" if _is_token(price["unit"]) else "one",
            }


def _tier(price: Row) -> str:
    hours = f"{price['hours']} UTC" if price["hours"] else ""
    return ", ".join(filter(None, (price["service_tier"] or STANDARD, price["processing"], hours)))


def _is_token(unit: str) -> bool:
    return unit in UNITS and UNITS[unit].kind == "token"
