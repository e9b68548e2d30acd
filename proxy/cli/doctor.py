"""`synapscale doctor`: one line per check, each with its fix."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.fault import FAILED, Fault
from proxy.cli.options import CaFile, Config, Json, Url
from proxy.cli.output import plain, show_json
from proxy.cli.running import running
from proxy.cli.where import gateway, unreadable

if TYPE_CHECKING:
    from proxy.cli.checks.finding import Finding
    from proxy.settings.tree import Settings


def doctor(
    config: Config = None, url: Url = None, ca_file: CaFile = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", readable=False, help="Folder of the data.")] = None,
    as_json: Json = False,
) -> None:
    """Check configuration, stores, schema, ledger, keys, prices, clock and TLS. Exit 1 where something is wrong (✗)."""
    from proxy.cli.checks.finding import MARKS

    found = list(_all(config, url, ca_file, data_dir))
    if as_json:
        show_json([finding._asdict() for finding in found])
    else:
        width = max(len(finding.check) for finding in found)
        for finding in found:
            print(f"{MARKS[finding.state]} {finding.check:<{width}}  {plain(finding.found)}")
            if finding.fix and finding.state != "ok":
                print(f"  {'':<{width}}  → {plain(finding.fix)}")
    if any(finding.state == "bad" for finding in found):
        sys.exit(FAILED)


def _all(
    config: Path | None, url: str | None, ca_file: Path | None, data_dir: Path | None,
) -> Sequence[Finding]:
    from proxy.cli.checks.configuration import configuration
    from proxy.cli.checks.finding import bad
    from proxy.cli.checks.gateway import keys_of_gateway, ready
    from proxy.settings.load import load
    from proxy.settings.problem import ConfigError

    found: list[Finding] = []
    settings: Settings | None = None
    folder = data_dir or Path(".synapscale")
    try:
        settings = load(config, {("stores", "data_dir"): data_dir})
        folder = settings.stores.data_dir
    except ConfigError as error:
        found += [bad("configuration", line, "correct it: docs/configuration.md") for line in error.lines]
    try:
        place = gateway(url, ca_file, folder)
    except Fault as fault:
        return [*found, bad("gateway", fault.message, fault.next_step or "--url"), *_stores(settings, folder)]
    if settings is not None:
        found += configuration(settings, place.base, running(folder).get("host", settings.server.host))
    found += ready(place)
    if found[-1].state == "ok":
        found.append(keys_of_gateway(place, folder))
    return [*found, *_stores(settings, folder)]


def _stores(settings: Settings | None, folder: Path) -> Sequence[Finding]:
    """Those of the configuration, else the embedded ones that `serve` runs now."""
    from proxy.cli.checks.postgres import postgres
    from proxy.cli.checks.redis import redis

    now = running(folder)
    database, cache = now.get("database_url"), now.get("redis_url")
    if settings is not None and settings.stores.database_url is not None:
        database = settings.stores.database_url.get_secret_value()
    if settings is not None and settings.stores.redis_url is not None:
        cache = settings.stores.redis_url.get_secret_value()
    found: list[Finding] = []
    for name, address in (("Postgres", database), ("Redis", cache)):
        if address is None:
            found.append(_not_found(name, folder))
    if database is not None:
        found += asyncio.run(postgres(database))
    if cache is not None:
        found += asyncio.run(redis(cache))
    return found


def _not_found(name: str, folder: Path) -> Finding:
    from proxy.cli.checks.finding import bad

    if unreadable(folder):
        fix = "the account that runs serve, or another --data-dir"
        return bad(name, f"{folder} is not readable: whether an embedded one runs is not known", fix)
    return bad(name, "the embedded one is not running", "synapscale serve")
