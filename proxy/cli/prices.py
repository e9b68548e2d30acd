"""`synapscale prices`: what llms cost, since when, who says so; custom prices, imports, a second opinion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.fault import FAILED, USAGE, Fault
from proxy.cli.llms import NO_PRICE
from proxy.cli.moments import back, wire
from proxy.cli.options import Json, Limit
from proxy.cli.output import Column, Row, show_json, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Prices: what llms cost, since when, and who says so.")

PATH = "prices"
ALWAYS = "1970-01-01"
MOST = 10_000

Llm = Annotated[str, typer.Argument(help="Name of the llm.")]
Provider = Annotated[str | None, typer.Option("--provider", help="Where the llm has several: at this one.")]
Model = Annotated[str | None, typer.Option("--model", help="Its name at the provider, where it has several there.")]
From = Annotated[str, typer.Option("--from", help="now, a day (its start, UTC) or a moment; also a past one.")]
Book = Annotated[
    Path | None,
    typer.Argument(help="Written by `python -m pricing.data.convert --out FILE`. Default: the book that ships with the gateway."),
]

LISTED = (
    Column("LLM", "llm", whole=True), Column("PROVIDER", "provider"), Column("ORIGIN", "origin"),
    Column("SOURCE", "source", spare=3), Column("SINCE", lambda row: since(row["effective_from"]), spare=2),
    Column("IN $/M", lambda row: base(row, "input"), right=True),
    Column("CACHED $/M", lambda row: base(row, "cache_read"), right=True, spare=4),
    Column("OUT $/M", lambda row: base(row, "output"), right=True), Column("UNTIL", lambda row: until(row), spare=1),
)
HISTORY = (
    Column("FROM", lambda row: since(row["effective_from"]), whole=True), Column("TO", lambda row: until(row), whole=True),
    Column("PROVIDER", "provider"), Column("ORIGIN", "origin"), Column("SOURCE", "source", spare=2),
    Column("PRICE", lambda row: compact(row["price"])), Column("SUPERSEDED", "superseded_at", spare=1),
    Column("ID", "id", spare=3, whole=True),
)
ITEMS = (
    Column("PROVIDER", "provider", spare=2), Column("UNIT", lambda row: unit_text(row)),
    Column("FOR", lambda row: conditions(row)), Column("USD", "price", right=True), Column("PER", lambda row: per(row)),
    Column("AT LEAST", lambda row: row["minimum_units"] or None, right=True, spare=4),
    Column("PUSD", lambda row: f"{pusd(row)}/{row['per_units']}", right=True, spare=3),
    Column("ID", "id", spare=5, whole=True),
)
CHANGES = (
    Column("LLM", "llm", whole=True), Column("PROVIDER", "provider"), Column("CHANGE", "action"), Column("ORIGIN", "origin"),
    Column("FROM", lambda row: since(row["effective_from"])), Column("TO", lambda row: until(row)),
    Column("PRICE", lambda row: compact(row["price"])),
)


def since(moment: str) -> str:
    return "always" if moment.startswith(ALWAYS) else _short(moment)


def until(row: Row) -> str | None:
    return _short(row["effective_to"]) if row["effective_to"] else None


def base(row: Row, unit: str) -> str:
    """The standard tier, all day, below every cliff. Empty where that unit has none."""
    found = [
        item["price"] for item in row["items"]
        if item["unit"] == unit and not conditions(item)
    ]
    return str(found[0]) if found else ""


def conditions(item: Row) -> str:
    """What an item holds for; empty: for everything that no other says."""
    parts = [item["service_tier"], item["processing"]]
    parts.append(f"input above {item['above_input_tokens']}" if item["above_input_tokens"] else "")
    parts.append(f"{item['hours']} UTC" if item["hours"] else "")
    return ", ".join(part for part in parts if part)


def unit_text(item: Row) -> str:
    return f"{item['unit']}/{item['variant']}" if item["variant"] else str(item["unit"])


def per(item: Row) -> str:
    from proxy.catalog.prices.wording import is_per_million

    if "/" in item["price"]:
        return "so many"
    return "million" if is_per_million(item["unit"]) else "one"


def pusd(item: Row) -> int:
    from pricing.money import parse_usd

    return parse_usd(item["usd"])


def compact(price: Mapping[str, Any]) -> str:
    """On one line, as YAML reads it."""
    parts = (f"{name}: {compact(value) if isinstance(value, dict) else value}" for name, value in price.items())
    return "{" + ", ".join(parts) + "}"


@app.command("list")
@asking
def list_(
    api: Api, provider: Provider = None,
    at: Annotated[str, typer.Option("--at", help="now, a day (its start, UTC) or a moment.")] = "now",
    limit: Limit = 1_000, as_json: Json = False,
) -> None:
    """List the prices in force: US dollars per million tokens, standard tier."""
    rows = list(api.rows(PATH, limit=limit, provider=provider, at=_moment(at) or wire(datetime.now(UTC))))
    rows.sort(key=lambda row: (str(row["llm"]), str(row["provider"])))
    show_rows(rows, LISTED, as_json=as_json, empty="No prices are in force then.")


@app.command()
@asking
def show(
    api: Api, llm: Llm, provider: Provider = None,
    at: Annotated[str, typer.Option("--at", help="now, a day (its start, UTC) or a moment.")] = "now", as_json: Json = False,
) -> None:
    """Show every price of an llm at a moment, item by item."""
    rows = _of(api, llm, provider=provider, at=_moment(at) or wire(datetime.now(UTC)))
    if as_json:
        show_json(rows)
        return
    for row in rows:
        talk(
            f"{row['llm']} at {row['provider']} ({row['upstream_model']}): {row['origin']}, {row['source']}, "
            f"{_span(row)}."
        )
    items = [{**item, "provider": row["provider"]} for row in rows for item in row["items"]]
    show_rows(items, ITEMS, as_json=False, empty=f"No price of {llm} is in force then: usage is recorded as {NO_PRICE}.")


@app.command()
@asking
def history(api: Api, llm: Llm, provider: Provider = None, as_json: Json = False) -> None:
    """List all prices that an llm has had and will have, also those that were superseded."""
    rows = _of(api, llm, provider=provider, superseded="with")
    rows.sort(key=lambda row: (row["provider"], row["effective_from"], row["superseded_at"] or "9"))
    show_rows(rows, HISTORY, as_json=as_json, empty=f"{llm} has never had a price.")


@app.command("set")
@asking
def set_(
    api: Api, llm: Llm, provider: Provider = None, model: Model = None,
    price: Annotated[
        str | None, typer.Option("--price", help="USD per million tokens, or per counted thing: input=0.15,output=0.60")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="YAML with a price as in config.yaml: tiers, cliffs, hours, batches.")
    ] = None,
    from_: From = "now",
    to: Annotated[str | None, typer.Option("--to", help="The first moment at which it does not hold; a day: its start.")] = None,
    note: Annotated[str, typer.Option("--note", help="Why, or from where.")] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="What is not named stays as in the price that is in force then.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set a custom price from a date on: the whole price, or with --keep a part of it. Its id goes to stdout."""
    if (price is None) == (file is None):
        raise Fault("Name the price by --price or by --file.", next_step="--price 'input=0.15,output=0.60'", code=USAGE)
    given = _from_file(file) if file else _from_text(price or "")
    start = _moment(from_)
    before = _in_force(api, llm, provider, model, start or wire(datetime.now(UTC)))
    if keep and isinstance(given, dict):
        given = {**before, **given}
    body = _named(llm, provider, model) | {"price": given, "note": note}
    body |= {"effective_from": start} if start else {}
    body |= {"effective_to": _moment(to) or wire(datetime.now(UTC))} if to else {}
    row = api.post(PATH, body)
    if as_json:
        show_json(row)
        return
    print(row["id"])
    talk(f"{row['llm']} at {row['provider']}: {compact(row['price'])}, {_span(row)}.")
    for change in row["changes"]:
        if change["action"] in ("dropped", "superseded"):
            talk(f"{change['action'].capitalize()}: {compact(change['price'])}, {_span(change)} ({change['source']}).")
    if lost := [name for name in before if name not in row["price"]]:
        talk(f"Without a price now, so what uses it is unpriced: {', '.join(lost)}. --keep takes over what is not named.")
    _talk_of_the_past(row["effective_from"], llm)


@app.command()
@asking
def unset(
    api: Api, llm: Llm, provider: Provider = None, model: Model = None, from_: From = "now", as_json: Json = False,
) -> None:
    """End the custom price of an llm: the price book's holds from then on."""
    start = _moment(from_)
    answer = api.post(f"{PATH}/unset", _named(llm, provider, model) | ({"effective_from": start} if start else {}))
    show_rows(answer["changes"], CHANGES, as_json=as_json, empty="Nothing changed.")
    if not as_json:
        _talk_of_the_past(start, llm)


@app.command("import")
@asking
def import_(api: Api, file: Book = None, as_json: Json = False) -> None:
    """Take list prices from a price book. Custom prices and those of config.yaml stay."""
    answer = _import(api, file, dry_run=False)
    if as_json:
        show_json(answer)
        return
    show_rows(answer["changes"], CHANGES, as_json=False, empty="Nothing changed.")
    _talk_of_import(answer, "changed")
    past = [change["effective_from"] for change in answer["changes"] if change["action"] == "added"]
    _talk_of_the_past(min(past, default=None), None)


@app.command()
@asking
def diff(api: Api, file: Book = None, as_json: Json = False) -> None:
    """Show what `prices import` would change. Exits 1 where that is anything."""
    answer = _import(api, file, dry_run=True)
    if as_json:
        show_json(answer)
    else:
        show_rows(answer["changes"], CHANGES, as_json=False, empty="Nothing would change.")
        _talk_of_import(answer, "would change")
    if answer["changes"]:
        raise typer.Exit(FAILED)


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option("--file", help="Another edition of LiteLLM's model_prices_and_context_window.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the price book that ships with LiteLLM's prices. Exits 1 where a difference is not explained."""
    from pricing import book
    from proxy.catalog.prices import second_source, verify

    try:
        second = second_source.installed() if file is None else second_source.read(file, file.name)
    except second_source.NotInstalled as missing:
        raise Fault(f"{missing}.", next_step="make verify-prices in a checkout, or --file model_prices_and_context_window.json") from None
    except (OSError, ValueError) as problem:
        raise Fault(f"{problem}.", code=USAGE) from None
    verdict = verify.verify(book.find, book.packaged().models(), second.prices, verify.read_decisions())
    states: dict[str, list[dict[str, Any]]] = {
        "unexplained": [each._asdict() for each in verdict.unexplained],
        **{
            state: [each.difference._asdict() | {"decision": each.decision, "reason": each.reason, "source": each.source}
                    for each in decisions]
            for state, decisions in (
                ("stale", verdict.stale), ("explained", verdict.explained), ("corrected", verdict.corrected))
        },
    }  # fmt: skip
    counts = {
        "models": verdict.models, "compared": verdict.compared, "agree": verdict.agree,
        **{state: len(found) for state, found in states.items()},
        "only_ours": verdict.only_ours, "only_theirs": verdict.only_theirs,
    }  # fmt: skip
    if as_json:
        show_json({"second_source": second.name, "counts": counts, "skipped": dict(second.skipped), **states})
    else:
        _show_verdict(counts, states)
        talk(f"{book.packaged().name} against {second.name}. Skipped: "
             + ", ".join(f"{count} ({why})" for why, count in sorted(second.skipped.items())) + ".")
    if not verdict.is_good:
        raise typer.Exit(FAILED)


def _show_verdict(counts: Mapping[str, int], states: Mapping[str, Sequence[Row]]) -> None:
    """A corrected price is listed as it was before: the book agrees now."""
    found = [{"state": state, **row} for state, rows in states.items() for row in rows]
    differences = (
        Column("STATE", "state"), Column("PROVIDER", "provider"), Column("MODEL", "model"), Column("UNIT", "unit"),
        Column("OURS $/M", "ours", right=True), Column("THEIRS $/M", "theirs", right=True), Column("RIGHT", "decision"),
        Column("REASON", "reason", spare=1),
    )
    show_rows(found, differences, as_json=False, empty="No differences.")
    talk(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) + ".")
    if counts["unexplained"] or counts["stale"]:
        talk("Decide each in pricing/data/disagreements.json, with a reason and its source.")


def _import(api: Api, file: Path | None, *, dry_run: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"dry_run": dry_run}
    if file is not None:
        try:
            body["document"] = json.loads(file.read_text("utf-8"))
        except OSError as error:
            raise Fault(f"{file}: {error.strerror}.", code=USAGE) from None
        except ValueError:
            next_step = "python -m pricing.data.convert --out FILE"
            raise Fault(f"{file} is no JSON.", next_step=next_step, code=USAGE) from None
    return api.post(f"{PATH}/import", body)


def _talk_of_import(answer: Row, verb: str) -> None:
    talk(
        f"{answer['source']}: {answer['routes_changed']} {verb}, {answer['routes_unchanged']} as they are, "
        f"{answer['routes_unknown']} not in it, {answer['routes_of_config']} of config.yaml."
    )


def _talk_of_the_past(start: str | None, llm: str | None) -> None:
    if start is not None and _at(start) < datetime.now(UTC).replace(second=0, microsecond=0):
        day = _short(start) if not start.startswith(ALWAYS) else "DAY"
        only = f" --llm {llm}" if llm else ""
        talk(f"What was charged stays. To correct it: synapscale rerate --from {day}{only} --dry-run")


def _of(api: Api, llm: str, **query: Any) -> list[dict[str, Any]]:
    rows = list(api.rows(PATH, limit=MOST, llm=llm, **query))
    if not rows and not list(api.rows("llms", limit=1, name=llm)):
        raise Fault(f"No {llm!r} among llms.", next_step="synapscale llms list", code=USAGE)
    return rows


def _in_force(api: Api, llm: str, provider: str | None, model: str | None, at: str) -> dict[str, Any]:
    """The price at that moment; empty where there is none, or where it is not clear which is meant: the gateway says so."""
    rows = [row for row in api.rows(PATH, limit=MOST, llm=llm, provider=provider, at=at)
            if model in (None, row["upstream_model"])]
    return dict(rows[0]["price"]) if len(rows) == 1 else {}


def _named(llm: str, provider: str | None, model: str | None) -> dict[str, Any]:
    given = {"llm": llm, "provider": provider, "upstream_model": model}
    return {name: value for name, value in given.items() if value is not None}


def _from_text(text: str) -> dict[str, Any]:
    """`input=0.15,batch.input=0.07`: a point leads into a section."""
    price: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, amount = part.partition("=")
        if not equals:
            hint = " A decimal point, not a comma, is meant?" if part.isdigit() and price else ""
            raise Fault(f"{part!r} is no price.{hint}", next_step="--price 'input=0.15,output=0.60'", code=USAGE)
        *path, unit = name.strip().split(".")
        place = price
        for section in path:
            place = place.setdefault(section, {})
        place[unit] = amount.strip()
    return price


def _from_file(file: Path) -> Any:
    import yaml

    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise Fault(f"{file}: {error.strerror}.", code=USAGE) from None
    except yaml.YAMLError as error:
        raise Fault(f"{file} is no YAML: {error}.", code=USAGE) from None
    if not isinstance(found, dict):
        raise Fault(f"{file} holds no price.", next_step='input: "0.15"', code=USAGE)
    price = found.get("price", found)
    return _texts_as_keys(price) if isinstance(price, dict) else price


def _texts_as_keys(price: Mapping[Any, Any]) -> dict[str, Any]:
    """YAML reads 200000 under `above` as a number; JSON has no such keys."""
    return {str(key): _texts_as_keys(value) if isinstance(value, dict) else value for key, value in price.items()}


def _moment(text: str) -> str | None:
    """None: now."""
    return None if text == "now" else back(text, datetime.now(UTC))


def _at(moment: str) -> datetime:
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))


def _span(row: Row) -> str:
    start = since(row["effective_from"])
    begins = "always" if start == "always" else f"from {start}"
    return f"{begins} to {_short(row['effective_to'])}" if row["effective_to"] else begins


def _short(moment: str) -> str:
    """A midnight is its day."""
    text = moment.replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z") if text.endswith("T00:00:00Z") else text
