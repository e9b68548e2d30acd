"""`synapscale rerate`: what has been used, at the prices that are known now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from proxy.cli.asking import asking
from proxy.cli.client import Api
from proxy.cli.moments import back
from proxy.cli.options import Json
from proxy.cli.output import Column, show_one, talk

PATH = "billing/rerate"
COUNTS = ("examined", "changed", "became_priced", "unpriced", "left")
SUMS = ("list_difference_usd", "charge_difference_usd")
COLUMNS = (
    Column("EXAMINED", "examined"), Column("CHANGED", "changed"), Column("BECAME PRICED", "became_priced"),
    Column("STILL UNPRICED", "unpriced"), Column("LIST DIFFERENCE USD", "list_difference_usd"),
    Column("CHARGE DIFFERENCE USD", "charge_difference_usd"),
)


@asking
def rerate(
    api: Api, since: Annotated[str, typer.Option("--from", help="A span (30d), today, a day or a moment.")],
    until: Annotated[str | None, typer.Option("--to", help="The last day, or a moment. Default: now.")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Only this llm.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Stands in every correction.")] = "priced again",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False, as_json: Json = False,
) -> None:
    """Price attempts again from what the provider said they used, and correct those that come to something else."""
    now = datetime.now(UTC)
    body = {
        "from": back(since, now), "to": back(until or "0s", now, end_of_day=True), "llm": llm, "reason": reason,
        "dry_run": dry_run,
    }
    total = _all(api, body)
    show_one(total, COLUMNS, as_json=as_json)
    if total["left"]:
        talk(f"{total['left']} were abandoned within the last 48 hours and may still be settled: not looked at.")
    if total["unpriced"]:
        talk(f"{total['unpriced']} still have no known price: synapscale requests list --unpriced")
    if dry_run and total["changed"]:
        talk("Nothing was changed. Without --dry-run it is.")


def _all(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """Batch after batch: one that was cut short has changed nothing, and the whole may be run again."""
    from pricing.money import format_usd, parse_usd

    counts, sums = dict.fromkeys(COUNTS, 0), dict.fromkeys(SUMS, 0)
    after: str | None = None
    while True:
        done = api.post(PATH, {**body, "after": after})
        for name in COUNTS:
            counts[name] += int(done[name])
        for name in SUMS:
            sums[name] += parse_usd(done[name])
        after = done["next"]
        if after is None:
            return {"dry_run": body["dry_run"], **counts, **{name: format_usd(pusd) for name, pusd in sums.items()}}
