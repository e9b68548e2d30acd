"""Postgres: version, schema, partitions, ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxy.cli.checks import store
from proxy.cli.checks.clock import clock
from proxy.cli.checks.finding import Finding, bad, ok, warn
from proxy.ledger.partitions import store as partitions
from proxy.storage.migrate import LOWEST_SERVER, MigrationError, pending
from proxy.storage.postgres import Connection, connect

DAYS_AHEAD = 2  # the worker keeps 7; fewer than this is an outage tomorrow
LAG_WARN_S, LAG_BAD_S = 60, 900
NO_CONNECTION: tuple[type[BaseException], ...] = (*store.POSTGRES_TROUBLE, ValueError)


async def postgres(dsn: str) -> list[Finding]:
    try:
        conn = await connect(dsn, application_name="synapscale doctor", timeout_s=5)
    except NO_CONNECTION as error:
        why = str(error) or type(error).__name__
        return [bad("Postgres", f"no connection: {why}", "check DATABASE_URL, the server and its pg_hba.conf")]
    try:
        before = datetime.now(UTC)
        server = await store.server(conn)
        found = [version(server.version), clock("Postgres", server.now, before, datetime.now(UTC))]
        return [*found, *await contents(conn)]
    except store.POSTGRES_TROUBLE as error:
        return [bad("Postgres", f"a check failed: {str(error) or type(error).__name__}", "look into its log")]
    finally:
        await conn.close(timeout=5)


def version(number: int) -> Finding:
    name = f"{number // 10_000}.{number % 10_000}"
    if number < LOWEST_SERVER:
        return bad("Postgres", f"version {name}", "version 15 or newer is needed")
    return ok("Postgres", f"version {name}")


async def contents(conn: Connection) -> list[Finding]:
    try:
        missing = await pending(conn)
    except MigrationError as error:
        return [bad("schema", str(error), "install synapscale-gateway again")]
    if missing:
        return [bad("schema", f"not applied: {', '.join(missing)}", "synapscale migrate (serve does it at its start)")]
    return [
        ok("schema", "up to date"), await days_ahead(conn), *ledger(await store.ledger(conn), datetime.now(UTC)),
    ]


async def days_ahead(conn: Connection) -> Finding:
    today = datetime.now(UTC).date()
    days = await partitions.existing(conn)
    ahead = 0
    while today + timedelta(days=ahead + 1) in days:
        ahead += 1
    if today not in days or ahead < DAYS_AHEAD:
        return bad("partitions", f"{ahead} days ahead", "run a worker, which makes them, or synapscale migrate")
    return ok("partitions", f"{ahead} days ahead")


def ledger(found: store.Ledger, now: datetime) -> list[Finding]:
    return [lag(found.as_of, now), dead_letters(found.dead_letters), unpriced(found.unpriced)]


def lag(as_of: datetime | None, now: datetime) -> Finding:
    if as_of is None:
        return ok("ledger", "nothing was recorded yet")
    behind_s = max(0, round((now - as_of).total_seconds()))
    if behind_s < LAG_WARN_S:
        return ok("ledger", f"complete up to {behind_s} s ago")
    text = f"complete only up to {as_of:%Y-%m-%d %H:%M:%S} UTC ({behind_s:,} s ago)"
    fix = "is a worker running? Its log says what holds it up"
    return warn("ledger", text, fix) if behind_s < LAG_BAD_S else bad("ledger", text, fix)


def dead_letters(count: int) -> Finding:
    if count:
        fix = "SELECT shard, entry_id, error FROM dead_letters: these attempts are in no bill"
        return bad("dead letters", f"{count} entries could not be written", fix)
    return ok("dead letters", "none")


def unpriced(count: int) -> Finding:
    if count:
        fix = "add a price to the llm in config.yaml; synapscale requests list shows which"
        return warn("unpriced attempts", f"{count} in the last day", fix)
    return ok("unpriced attempts", "none in the last day")
