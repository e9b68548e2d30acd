"""`synapscale config`: is it right, what is in force and why, what is there to set."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from proxy.cli.fault import USAGE, Fault
from proxy.cli.load import config_fault
from proxy.cli.options import Config, Json
from proxy.cli.output import Column, Row, show_json, show_rows, talk

app = typer.Typer(no_args_is_help=True, help="Configuration: check it, show what is in force and why, look settings up.")


def _value(row: Row) -> str:
    return "unset" if row["value"] is None else str(row["value"])


SETTING, VALUE, SOURCE = Column("SETTING", "setting"), Column("VALUE", _value), Column("SOURCE", "source")
Below = Annotated[str | None, typer.Argument(help="Only this setting, and what is below it: server, providers.openai.")]


@app.command()
def validate(config: Config = None, as_json: Json = False) -> None:
    """Check config.yaml and the environment as every start does. Exit 2 where something is wrong."""
    from proxy.settings.load import load
    from proxy.settings.problem import ConfigError

    try:
        settings = load(config)
    except ConfigError as error:
        if not as_json:
            raise config_fault(error.lines) from None
        show_json({"valid": False, "problems": error.lines})
        sys.exit(USAGE)
    if as_json:
        show_json({"valid": True, "problems": []})
    else:
        talk(f"Nothing is wrong. Providers: {len(settings.providers)}, llms: {len(settings.llms)}.")


@app.command()
def show(
    below: Below = None, config: Config = None,
    source: Annotated[bool, typer.Option("--source", help="Also where each value came from.")] = False,
    as_json: Json = False,
) -> None:
    """Show the settings in force here; a secret is only said to be set. Options of `serve` are not known to it."""
    from proxy.settings.problem import ConfigError
    from proxy.settings.show import shown

    try:
        found = [each for each in shown(config) if below is None or _is_below(each.setting, below)]
    except ConfigError as error:
        raise config_fault(error.lines) from None
    if not found:
        raise Fault(f"No setting is named {below!r}.", next_step="synapscale config show", code=USAGE)
    columns = (SETTING, VALUE, SOURCE) if source else (SETTING, VALUE)
    show_rows([each._asdict() for each in found], columns, as_json=as_json, empty="")


@app.command()
def docs(below: Below = None, as_json: Json = False) -> None:
    """Print every setting with its default, its bounds and what it does."""
    from proxy.settings.reference import entries

    columns = (SETTING, Column("DEFAULT", "default"), Column("WHAT", "what"))
    rows = [each._asdict() for each in entries() if below is None or _is_below(each.setting, below)]
    if not rows:
        raise Fault(f"No setting is named {below!r}.", next_step="synapscale config docs", code=USAGE)
    show_rows(rows, columns, as_json=as_json, empty="")


def _is_below(setting: str, name: str) -> bool:
    return setting == name or setting.startswith((f"{name}.", f"{name}["))
