"""What must be true of the books once a house is quiet: the provider's account, the clients' memory and the tables agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from proxy.storage.postgres import Record
from tests.promises.crowd import Crowd, Try
from tests.promises.house import House, eventually
from tests.promises.provider import INPUT_PUSD, Billed, Provider

_ROWS = """
SELECT end_user AS label, attempt_id, outcome, usage_source, pricing, input_tokens, cached_tokens, output_tokens,
       list_pusd, charge_pusd, upstream_status, error_code,
       (SELECT sum(line) FROM unnest(line_list_pusd) AS line)::bigint AS lines_pusd
FROM usage_events WHERE starts_with(end_user, $1) ORDER BY attempt_id
"""

# Written without looking at the ledger's own SQL: what a recount of the events must find in the rollups.
_RECOUNT = """
WITH lines AS (
    SELECT e.*, l.unit, l.quantity, l.list, l.charge FROM usage_events e
    CROSS JOIN LATERAL unnest(e.units, e.quantities, e.line_list_pusd, e.line_charge_pusd) AS l (unit, quantity, list, charge)
    UNION ALL SELECT e.*, 'requests', 1, 0, 0 FROM usage_events e
    UNION ALL SELECT e.*, 'errors', 1, 0, 0 FROM usage_events e WHERE e.outcome IN ('abandoned', 'upstream_error')
    UNION ALL SELECT e.*, 'unpriced', 1, 0, 0 FROM usage_events e WHERE e.pricing = 'unpriced'
    UNION ALL SELECT e.*, 'reasoning', e.reasoning_tokens, 0, 0 FROM usage_events e WHERE e.reasoning_tokens > 0
)
SELECT {bucket} AS bucket, workspace_id, user_id, virtual_key_id, llm, provider, key_source, service_tier, unit,
       sum(quantity)::numeric AS quantity, sum(list)::numeric AS list_pusd, sum(charge)::numeric AS charge_pusd
FROM lines GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
_ROLLED_UP = """
SELECT {bucket} AS bucket, workspace_id, user_id, virtual_key_id, llm, provider, key_source, service_tier, unit,
       quantity, list_pusd, charge_pusd
FROM {table} WHERE quantity <> 0 OR list_pusd <> 0 OR charge_pusd <> 0
"""

# asyncpg forgets a future of its own where a COPY begins as the server dies.
_ASYNCPG_LEAVES = """Future exception was never retrieved
future: <Future finished exception=ConnectionDoesNotExistError("""


@dataclass(frozen=True, slots=True)
class Books:
    """Of one crowd. `rows` and `billed` by label."""

    rows: dict[str, Record]
    billed: dict[str, Billed]
    tries: list[Try]

    def outcomes(self) -> Counter[str]:
        return Counter(row["outcome"] for row in self.rows.values())


async def audit(house: House, provider: Provider, crowd: Crowd, *, killed_gateways: bool = False) -> Books:
    """Waits until the house is quiet, then every comparison. `killed_gateways`: only then may a row be abandoned."""
    await house.quiet()
    billed = _once(provider.account(crowd.prefix + "-"), "requests at the provider")
    rows = _once(await house.query(_ROWS, crowd.prefix + "-"), "rows")
    books = Books(rows, billed, crowd.tries)
    _each_dispatch_has_its_row(books, killed_gateways)
    _each_client_was_told_the_truth(books)
    _each_reported_row_is_the_providers(books)
    await _tables_agree(house)
    _no_bug_was_met(house, crowd.log_from)
    return books


def _once(found: Iterable[Any], what: str) -> dict[str, Any]:
    by_label: dict[str, Any] = {}
    several: Counter[str] = Counter()
    for each in found:
        label = each.label if isinstance(each, Billed) else each["label"]
        several[label] += 1
        by_label[label] = each
    twice = {label: count for label, count in several.items() if count > 1}
    assert not twice, f"{what}: more than one for {twice}"
    return by_label


def _each_dispatch_has_its_row(books: Books, killed_gateways: bool) -> None:
    lost = books.billed.keys() - books.rows.keys()
    assert not lost, f"{len(lost)} of {len(books.billed)} dispatched requests left no row: {_show(books, lost)}"
    invented = books.rows.keys() - books.billed.keys()
    # A gateway that dies between announcing and sending leaves an announced attempt.
    wrong = {label for label in invented if not (killed_gateways and books.rows[label]["outcome"] == "abandoned")}
    assert not wrong, f"{len(wrong)} rows of requests that never reached the provider: {_show(books, wrong)}"
    abandoned = {label for label, row in books.rows.items() if row["outcome"] == "abandoned"}
    assert killed_gateways or not abandoned, f"abandoned although no gateway died: {_show(books, abandoned)}"
    for label in abandoned:
        row = books.rows[label]
        assert row["usage_source"] == "estimated" and row["output_tokens"] == 0, dict(row)
        assert row["list_pusd"] == row["input_tokens"] * INPUT_PUSD > 0, dict(row)


def _each_client_was_told_the_truth(books: Books) -> None:
    """Settled before the client sees the end: whoever saw one has a final row, and a refusal has none."""
    for tried in books.tries:
        row = books.rows.get(tried.label)
        if tried.refused:
            assert row is None, f"refused with {tried.status}, and yet there is {dict(row or {})}"
        elif tried.end in ("finished", "failed", "error_event"):
            assert row is not None and row["outcome"] != "abandoned", f"{tried.label} saw its end, the row: {row}"
        if tried.end == "finished":
            assert row is not None and row["outcome"] == "ok", f"{tried.label} saw a good end, the row: {row}"
            assert books.billed[tried.label].complete, f"{tried.label} saw a good end that was never sent"
            if books.billed[tried.label].reports_usage:
                assert row["usage_source"] == "provider", dict(row)


def _each_reported_row_is_the_providers(books: Books) -> None:
    reported = {label: row for label, row in books.rows.items() if row["usage_source"] == "provider"}
    for label, row in reported.items():
        bill = books.billed[label]
        told = (row["input_tokens"], row["cached_tokens"], row["output_tokens"], row["list_pusd"])
        assert told == (bill.prompt_tokens, bill.cached_tokens, bill.completion_tokens, bill.pusd), (dict(row), bill)
    ours = sum(row["list_pusd"] for row in reported.values())
    theirs = sum(bill.pusd for label, bill in books.billed.items() if label in reported)
    assert ours == theirs, f"the rows say {ours}, the provider's account {theirs}"
    for row in books.rows.values():
        assert row["pricing"] == "priced" and row["charge_pusd"] == row["list_pusd"] == (row["lines_pusd"] or 0), dict(row)


async def _tables_agree(house: House) -> None:
    """Of everything in the house: events, billing events and rollups; and what the API says of them."""
    charged, listed, count = (
        await house.query("SELECT coalesce(sum(charge_pusd), 0), coalesce(sum(list_pusd), 0), count(*) FROM usage_events")
    )[0]
    owed = (await house.query("SELECT coalesce(sum(amount_pusd), 0) FROM billing_events"))[0][0]
    assert charged == owed, f"the rows charge {charged}, the billing events {owed}"
    unlike = await house.query("""
        SELECT attempt_id, e.charge_pusd, b.owed, b.uses, b.corrections, e.outcome FROM usage_events e FULL JOIN
          (SELECT attempt_id, sum(amount_pusd) AS owed, count(*) FILTER (WHERE kind = 'usage') AS uses,
                  count(*) FILTER (WHERE kind = 'adjustment') AS corrections FROM billing_events GROUP BY 1) b
        USING (attempt_id)
        WHERE coalesce(e.charge_pusd, -1) <> coalesce(b.owed, 0) OR b.uses > 1 OR b.corrections > 1""")
    assert not unlike, f"rows and billing events differ: {[dict(row) for row in unlike[:5]]}"
    hour, day = "date_trunc('hour', occurred_at, 'UTC')", "(occurred_at AT TIME ZONE 'UTC')::date"
    for table, column, bucket in (("usage_hourly", "hour", hour), ("usage_daily", "day", day)):
        counted = {tuple(row) for row in await house.query(_RECOUNT.format(bucket=bucket))}
        kept = {tuple(row) for row in await house.query(_ROLLED_UP.format(bucket=column, table=table))}
        assert counted == kept, f"{table}: counted {sorted(counted - kept)[:3]}, kept {sorted(kept - counted)[:3]}"
    dead = await house.query("SELECT entry_id, error FROM dead_letters")
    assert not dead, f"dead letters: {[dict(row) for row in dead]}"
    total = house.api("usage/summary?group_by=llm")["total"]
    assert (total["requests"], pusd(total["list_cost_usd"]), pusd(total["charge_usd"])) == (count, listed, charged)


def pusd(usd: str) -> int:
    whole, _, fraction = usd.partition(".")
    return int(whole) * 10**12 + int(fraction.ljust(12, "0"))


def _show(books: Books, labels: Collection[str], most: int = 5) -> str:
    ends = {tried.label: (tried.ask.llm, tried.end, tried.status) for tried in books.tries}
    some = sorted(labels)[:most]
    return "; ".join(f"{label} {ends.get(label)} {dict(books.rows.get(label, {}))} {books.billed.get(label)}" for label in some)


def _no_bug_was_met(house: House, log_from: int) -> None:
    """Whatever is killed: no path that should not be reached, nothing logged as a bug is logged."""
    bugs = [line for line in house.metrics().splitlines() if line.startswith("synapscale_bugs_total")]
    assert not bugs, bugs
    log = house.log.read_bytes()[log_from:].decode(errors="replace").replace(_ASYNCPG_LEAVES, "")
    at = next((log.index(word) for word in ("Traceback", "CRITICAL", "never retrieved") if word in log), None)
    assert at is None, log[max(0, at - 1500) : at + 3000]


async def written(house: House, crowd: Crowd, count: int) -> None:
    """Until that many rows of the crowd are in the tables."""

    async def enough() -> bool:
        return len(await house.query(_ROWS, crowd.prefix + "-")) >= count

    await eventually(enough, f"{count} rows are written")
