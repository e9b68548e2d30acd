"""`synapscale verify`: does the ledger agree with itself?"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.embedded import database
from proxy.cli.fault import FAILED, USAGE, Fault
from proxy.cli.load import database_fault, load_settings
from proxy.cli.options import Config, Json
from proxy.cli.output import Column, show_json, show_rows, talk

if TYPE_CHECKING:
    from proxy.ledger.check.check import Finding

CHECKS = (
    Column("CHECK", "check", whole=True), Column("LOOKED AT", "looked_at", right=True),
    Column("DIFFERENCES", "differences", right=True), Column("PROMISE", "promise", spare=1),
)
DIFFERENCES = (Column("CHECK", "check", whole=True), Column("WHAT", "subject"), Column("SAYS", "says"))


def verify(
    since: Annotated[str | None, typer.Option("--from", help="First day, UTC. Default: the first there is.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day, UTC. Default: the last there is.")] = None,
    config: Config = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", readable=False, help="Folder of the data.")] = None,
    as_json: Json = False,
) -> None:
    """Recount the ledger in the database: events, lines, sums, entries, corrections. Exits 1 where anything differs."""
    first, last = _day(since), _day(until)
    settings = load_settings(config, {("stores", "data_dir"): data_dir})
    with database(settings) as dsn:
        found = _ask(dsn, first, None if last is None else last + timedelta(days=1), quiet=as_json)
    rows = [_row(each) for each in found]
    differences = sum(each.differences for each in found)
    examples = [
        {"check": each.check.name, "subject": example.subject, "says": example.says}
        for each in found for example in each.examples
    ]
    if as_json:
        show_json({"from": since, "to": until, "differences": differences, "checks": rows, "examples": examples})
    else:
        show_rows(rows, CHECKS, as_json=False, empty="")
        if examples:
            show_rows(examples, DIFFERENCES, as_json=False, empty="")
    if not differences:
        talk("The ledger agrees with itself.")
        return
    named = "" if len(examples) == differences else f", {len(examples)} of them named"
    talk(f"The ledger disagrees with itself: {differences} differences{named}.")
    raise typer.Exit(FAILED)


def _row(found: Finding) -> dict[str, Any]:
    return {
        "check": found.check.name, "looked_at": found.looked_at, "differences": found.differences,
        "promise": found.check.promise,
    }


def _ask(dsn: str, first: date | None, last: date | None, *, quiet: bool) -> list[Finding]:
    from contextlib import aclosing

    from proxy.cli.checks.store import POSTGRES_TROUBLE
    from proxy.ledger.check.verify import CHECKS as ALL
    from proxy.ledger.check.verify import verify as work
    from proxy.storage.postgres import SCHEMA_MISSING, connect

    async def run() -> list[Finding]:
        db = await connect(dsn, application_name="synapscale verify")
        found: list[Finding] = []
        began = datetime.now(UTC)
        try:
            async with aclosing(work(db, first, last)) as findings:
                async for each in findings:
                    found.append(each)
                    now = datetime.now(UTC)
                    if not quiet and (now - began).total_seconds() > 5:  # a large ledger: say that it goes on
                        talk(f"{len(found)} of {len(ALL)}: {each.check.name}")
        finally:
            await db.close(timeout=5)
        return found

    try:
        return asyncio.run(run())
    except SCHEMA_MISSING:
        raise Fault("The schema is not of this version.", next_step="synapscale migrate (serve does it at its start)") from None
    except POSTGRES_TROUBLE as error:
        raise database_fault(error) from None


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Fault(f"{text!r} is no day.", next_step="2026-12-31", code=USAGE) from None
