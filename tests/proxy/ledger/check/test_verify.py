"""A ledger that is right, and then every way of being wrong: each is found, and named by the check that is there for it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from proxy.ledger.check.check import MOST_SHOWN, Finding
from proxy.ledger.check.verify import CHECKS, verify
from proxy.storage.postgres import Connection

# An attempt that nobody corrected, with several lines and a markup; one on an own key with a fee; one that was corrected.
A = (
    "(SELECT attempt_id FROM usage_events e WHERE llm = 'priced' AND charge_kind = 'usage' AND pricing = 'priced'"
    " AND cardinality(units) = 3 AND outcome = 'ok' AND NOT EXISTS (SELECT FROM usage_corrections c WHERE"
    " c.attempt_id = e.attempt_id) ORDER BY attempt_id LIMIT 1)"
)
OWN = (
    "(SELECT attempt_id FROM billing_events WHERE kind = 'platform_fee' AND amount_pusd > 0"
    " AND attempt_id NOT IN (SELECT attempt_id FROM billing_events WHERE kind = 'credit' AND attempt_id IS NOT NULL)"
    " ORDER BY attempt_id LIMIT 1)"
)
CREDITED = (
    "(SELECT attempt_id FROM billing_events WHERE kind = 'credit' AND attempt_id IS NOT NULL ORDER BY attempt_id LIMIT 1)"
)
CORRECTED = "(SELECT attempt_id FROM usage_corrections WHERE number = 2 ORDER BY attempt_id LIMIT 1)"
ENTRY = f"(SELECT id FROM billing_events WHERE attempt_id = {A} AND kind = 'usage')"
REFUNDED = "(SELECT attempt_id FROM billing_events WHERE kind = 'refund')"
SUMS = {"hours", "days"}


def row(change: str, of: str = A) -> str:
    return f"UPDATE usage_events SET {change} WHERE attempt_id = {of}"


def entry(kind: str, pusd: str, attempt: str, corrects: str) -> str:
    return (
        "INSERT INTO billing_events (id, workspace_id, user_id, virtual_key_id, attempt_id, kind, amount_pusd, corrects,"
        f" occurred_at) SELECT gen_random_uuid(), workspace_id, user_id, virtual_key_id, attempt_id, '{kind}', {pusd},"
        f" {corrects}, occurred_at FROM usage_events WHERE attempt_id = {attempt}"
    )


def copied(table: str, changes: dict[str, str], where: str) -> str:
    """A row of the table once more, but for the changes."""
    given = ", ".join(f"'{name}', {value}" for name, value in changes.items())
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object({given}))).* FROM {table} t WHERE {where}"
    )


class Fault(NamedTuple):
    """`found`: the checks that see it. The first is the one that is there for it."""

    name: str
    found: list[str]
    plant: list[str]


FAULTS = [
    Fault("a row is lost", ["entries_known", *SUMS], [f"DELETE FROM usage_events WHERE attempt_id = {A}"]),
    Fault("a row is there twice", ["attempts_once", "owed", *SUMS],
          [copied("usage_events", {"workspace_id": "gen_random_uuid()"}, f"attempt_id = {A}")]),
    Fault("a row at another moment", ["attempt_moments", "entries_known"],
          [row("occurred_at = occurred_at + interval '1 millisecond'")]),
    Fault("a day is gone", ["entries_known", *SUMS, "corrections_chain"],
          ["DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE usage_events DETACH PARTITION ' || tableoid::regclass"
           " FROM usage_events LIMIT 1); END $$"]),
    Fault("a line and its sum", ["lines_add_up", "line_prices", "line_charges", *SUMS],
          [row("line_list_pusd[1] = line_list_pusd[1] + 1000")]),
    Fault("a sum of lists", ["lines_add_up"], [row("list_pusd = list_pusd - 1")]),
    Fault("a sum of charges", ["lines_add_up", "owed"], [row("charge_pusd = charge_pusd + 1")]),
    Fault("lines of different lengths", ["lines_add_up", "unpriced"], [row("price_item_ids = price_item_ids[:2]")]),
    Fault("a line at another price", ["line_prices", "owed", *SUMS],
          [row("line_list_pusd[3] = line_list_pusd[3] + 1, list_pusd = list_pusd + 1, line_charge_pusd = '{0,0,0}',"
               " charge_pusd = 0, charge_kind = 'none', charge_bps = 0, charge_reason = 'internal'")]),
    Fault("a price that does not exist", ["line_prices"], [row("price_item_ids[1] = gen_random_uuid()")]),
    Fault("the price of another class", ["line_prices"], [row("price_item_ids[1] = price_item_ids[3]")]),
    Fault("a price that was changed", ["line_prices"],
          [f"UPDATE price_items SET price_pusd = price_pusd + 1 WHERE id = (SELECT price_item_ids[1] FROM usage_events"
           f" WHERE attempt_id = {A})"]),
    Fault("a charge a pico too high", ["line_charges", "owed", *SUMS],
          [row("line_charge_pusd[1] = line_charge_pusd[1] + 1, charge_pusd = charge_pusd + 1")]),
    Fault("a fee taken for usage", ["charge_kinds"], [row("charge_kind = 'usage'", OWN)]),
    Fault("nothing charged without a reason", ["charge_kinds"], [row("charge_kind = 'none'")]),
    Fault("priced said to be unpriced", ["unpriced", "owed", *SUMS], [row("pricing = 'unpriced'")]),
    Fault("an unknown price is zero", ["unpriced", *SUMS],
          [row("pricing = 'priced'", "(SELECT min(attempt_id::text)::uuid FROM usage_events WHERE llm = 'unpriced'"
                                     " AND cardinality(units) > 0)")]),
    Fault("a token in no line", ["tokens"], [row("input_tokens = input_tokens + 1")]),
    Fault("a correction is lost", ["corrections_chain"],
          [f"DELETE FROM usage_corrections WHERE attempt_id = {CORRECTED} AND number = 1"]),
    Fault("the newest correction is lost", ["owed", *SUMS],
          [f"DELETE FROM usage_corrections WHERE attempt_id = {CORRECTED} AND number = 2"]),
    Fault("a correction that corrects nothing", ["corrections_differ"],
          [copied("usage_corrections", {"number": "3"}, f"attempt_id = {CORRECTED} AND number = 2")]),
    Fault("a correction of no attempt", ["corrections_chain"],
          [copied("usage_corrections", {"attempt_id": "gen_random_uuid()"}, "number = 1 AND attempt_id = " + CORRECTED)]),
    Fault("a correction at another price", ["line_prices"],
          [f"UPDATE usage_corrections SET quantities[1] = quantities[1] + 1 WHERE attempt_id = {CORRECTED} AND number = 1"]),
    Fault("an hour's quantity", ["hours"], ["UPDATE usage_hourly SET quantity = quantity + 1 WHERE unit = 'output'"]),
    Fault("an hour is lost", ["hours"], ["DELETE FROM usage_hourly"]),
    Fault("an hour without events", ["hours"],
          [copied("usage_hourly", {"hour": "'2021-03-04T05:00:00Z'"}, "unit = 'input'")]),
    Fault("a day's charge", ["days"], ["UPDATE usage_daily SET charge_pusd = charge_pusd - 1 WHERE unit = 'input'"]),
    Fault("a day's lists", ["days"], ["UPDATE usage_daily SET list_pusd = list_pusd - 1 WHERE unit = 'output'"]),
    *(Fault(f"a day's {unit}", ["days"], [f"UPDATE usage_daily SET quantity = quantity + 1 WHERE unit = '{unit}'"])
      for unit in ("requests", "errors", "unpriced", "reasoning")),
    Fault("an entry is lost", ["owed"],
          [f"DELETE FROM billing_events WHERE id = {ENTRY}"]),
    Fault("an entry of another amount", ["owed"],
          [f"UPDATE billing_events SET amount_pusd = amount_pusd + 1 WHERE id = {ENTRY}"]),
    Fault("an attempt was billed twice", ["one_base_entry", "owed"],
          ["DROP INDEX billing_events_once", copied("billing_events", {"id": "gen_random_uuid()"}, f"id = {ENTRY}")]),
    Fault("an adjustment is lost", ["owed"], [f"DELETE FROM billing_events WHERE kind = 'adjustment' AND attempt_id = {CORRECTED}"]),
    Fault("an adjustment of another attempt", ["entries_named"],
          [f"UPDATE billing_events SET corrects = {ENTRY} WHERE kind = 'adjustment' AND attempt_id = {CORRECTED}"]),
    Fault("an adjustment of nothing", ["entry_kinds"], [entry("adjustment", "0", A, ENTRY)]),
    Fault("an adjustment names no entry", ["entries_named", "owed"], [entry("adjustment", "1", A, "gen_random_uuid()")]),
    Fault("an entry of no attempt", ["entries_known", "owed"],
          [f"UPDATE billing_events SET attempt_id = gen_random_uuid() WHERE id = {ENTRY}"]),
    Fault("an entry in another workspace", ["entries_known", "owed"],
          [f"UPDATE billing_events SET workspace_id = gen_random_uuid() WHERE id = {ENTRY}"]),
    Fault("an entry of another key", ["entries_known"],
          [f"UPDATE billing_events SET virtual_key_id = gen_random_uuid() WHERE id = {ENTRY}"]),
    Fault("usage entered as a fee", ["entry_kinds"],
          [f"UPDATE billing_events SET kind = 'platform_fee' WHERE id = {ENTRY}"]),
    Fault("a refund of more than was owed", ["refunds"],
          ["UPDATE billing_events SET amount_pusd = -1000000000000 WHERE kind = 'refund'"]),
    Fault("refunded, and the price fell", ["refunds", "owed"],
          [entry("refund", "-charge_pusd", A, ENTRY), entry("adjustment", "-1", A, ENTRY)]),
    Fault("a refund of nothing", ["entry_kinds"], ["UPDATE billing_events SET amount_pusd = 0 WHERE kind = 'refund'"]),
    Fault("a credit above its fee", ["credits", "fee_allowances"],
          [f"UPDATE billing_events SET amount_pusd = amount_pusd - 1 WHERE kind = 'credit' AND attempt_id = {CREDITED}"]),
    Fault("an allowance that was not credited", ["fee_allowances"],
          ["UPDATE fee_allowances SET used_pusd = used_pusd + 1"]),
    Fault("an allowance is lost", ["fee_allowances"], ["DELETE FROM fee_allowances"]),
    Fault("a dead letter", ["dead_letters"],
          ["INSERT INTO dead_letters (shard, entry_id, payload, error) VALUES (0, '1-1', '', 'poison')"]),
    Fault("a ledger ahead of time", ["positions"], ["UPDATE ledger_positions SET as_of = now() + interval '1 hour'"]),
    Fault("a position that is none", ["positions"], ["UPDATE ledger_positions SET entry_id = 'x'"]),
    Fault("no position", ["positions"], ["DELETE FROM ledger_positions"]),
    Fault("two prices at once", ["price_versions"],
          ["ALTER TABLE price_versions DROP CONSTRAINT price_versions_no_overlap",
           "INSERT INTO price_versions (id, route_id, effective_from, source, digest) SELECT gen_random_uuid(), route_id,"
           " '2020-01-01', 'x', '' FROM price_versions LIMIT 1",
           "UPDATE price_versions SET effective_to = NULL"]),
    Fault("two plans at once", ["plans"],
          ["ALTER TABLE plans DROP CONSTRAINT plans_no_overlap",
           "INSERT INTO plans (id, workspace_id, effective_from) SELECT gen_random_uuid(), workspace_id, now() FROM plans"]),
    Fault("two overrides at once", ["plans"],
          ["ALTER TABLE price_overrides DROP CONSTRAINT price_overrides_no_overlap",
           "INSERT INTO price_overrides (id, workspace_id, llm_id, markup_bps, effective_from) SELECT gen_random_uuid(), w.id,"
           " (SELECT min(id::text)::uuid FROM llms), 0, now() FROM workspaces w, generate_series(1, 2)"]),
]  # fmt: skip


async def found(db: Connection) -> dict[str, Finding]:
    return {finding.check.name: finding async for finding in verify(db)}


async def test_a_ledger_that_is_right(db: Connection) -> None:
    findings = await found(db)
    assert not {name: each.examples for name, each in findings.items() if each.differences}
    assert list(findings) == [check.name for check in CHECKS]
    # And something of every kind was looked at.
    assert {name for name, each in findings.items() if not each.looked_at} == {"dead_letters"}
    assert findings["attempts_once"].looked_at >= 240 and findings["line_prices"].looked_at >= 243


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_found_and_named(db: Connection, fault: Fault) -> None:
    transaction = db.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await db.execute("SET LOCAL session_replication_role = replica")  # triggers would refuse it, as they should
        for statement in fault.plant:
            await db.execute(statement)
        findings = await found(db)
    finally:
        await transaction.rollback()
    wrong = {name: each for name, each in findings.items() if each.differences}
    assert set(wrong) == set(fault.found), {name: each.examples[:2] for name, each in wrong.items()}
    for each in wrong.values():
        assert each.examples and all(subject and says for subject, says in each.examples)
        assert len(each.examples) == min(each.differences, MOST_SHOWN)


def test_every_check_has_a_fault_of_its_own() -> None:
    assert {fault.found[0] for fault in FAULTS} == {check.name for check in CHECKS}
