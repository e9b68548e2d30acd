"""Attempts priced again, refunded and credited through the management API."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.wire.ids import to_wire
from tests.proxy.api.conftest import Api, Tenant
from tests.proxy.api.test_usage import Settle, event, settle

__all__ = ["settle"]
MARCH = {"from": "2026-03-01", "to": "2026-04-01"}
NOTHING: dict[str, Any] = {
    "units": ["input"], "quantities": [100], "price_item_ids": [None], "line_list_pusd": [0], "line_charge_pusd": [0],
    "list_pusd": 0, "charge_pusd": 0, "pricing": "unpriced", "upstream_model": "m", "raw_usage": None,
    "cached_tokens": 0, "output_tokens": 0, "reasoning_tokens": None,
}  # fmt: skip


async def test_an_event_says_what_it_comes_to_now_and_came_to_before(api: Api, acme: Tenant, settle: Settle) -> None:
    unpriced = event(acme, "2026-03-04T05:06:07", **NOTHING)
    await settle(unpriced, event(acme, "2026-03-05T05:06:07"))
    done = await api.ok("POST", "/billing/rerate", MARCH | {"reason": "it had no price", "llm": "gpt-mini"})
    assert done == {
        "object": "rerate", "dry_run": False, "examined": 2, "left": 0, "changed": 2, "became_priced": 1, "unpriced": 1,
        "list_difference_usd": "-0.000027", "charge_difference_usd": "-0.000027", "next": None,
    }  # fmt: skip
    path = f"/usage/events/{to_wire('att', unpriced.attempt_id)}"
    shown = await api.ok("GET", path, key=acme.owner)
    assert shown == shown | {
        "list_cost_usd": "0.000015", "charge_usd": "0.000015", "pricing": "priced", "corrected": True,
        "charge_kind": "usage", "charge_bps": 10000, "charge_reason": "", "processing": "",
    }  # fmt: skip
    assert [line["list_cost_usd"] for line in shown["lines"]] == ["0.000015"]
    (correction,) = shown["corrections"]
    assert correction == correction | {
        "number": 1, "reason": "it had no price", "actor_kind": "management_key",
        "before": {"list_cost_usd": "0.00", "charge_usd": "0.00", "pricing": "unpriced"},
        "after": {"list_cost_usd": "0.000015", "charge_usd": "0.000015", "pricing": "priced"},
    }  # fmt: skip
    (entry,) = (await api.ok("GET", f"/billing/events?attempt_id={shown['id']}", key=acme.owner))["data"]
    assert entry == entry | {"kind": "usage", "amount_usd": "0.000015", "actor_id": correction["actor_id"]}
    listed = await api.ok("GET", "/usage/events?pricing=priced")
    assert [row["id"] for row in listed["data"]] == [shown["id"]]
    assert listed["data"][0] == {key: value for key, value in shown.items() if key not in ("raw_usage", "prices", "corrections")}
    total = (await api.ok("GET", "/usage/summary?group_by=day"))["total"]
    assert (total["unpriced_requests"], total["charge_usd"]) == (1, "0.000015")


async def test_a_long_time_goes_batch_by_batch(api: Api, acme: Tenant, settle: Settle) -> None:
    await settle(*(event(acme, f"2026-03-{day:02}T05:06:0{n}", **NOTHING) for day in (1, 2, 3, 20, 31) for n in (1, 2)))
    examined, calls, after = 0, 0, None
    while True:
        done = await api.ok("POST", "/billing/rerate", MARCH | {"limit": 3, "after": after})
        examined, calls, after = examined + done["changed"], calls + 1, done["next"]
        if after is None:
            break
    assert (examined, calls) == (10, 4)
    entries = (await api.ok("GET", "/audit?verb=rerate"))["data"]
    assert len(entries) == 4 and entries[0]["detail"]["from"].startswith("2026-03-01")


@pytest.mark.parametrize("after", ["2026-02-30", "yesterday", "2026-03-01/1/2", ""])
async def test_a_place_that_is_none(api: Api, after: str) -> None:
    answer = await api.post("/billing/rerate", MARCH | {"after": after})
    assert (answer.status, answer.param) == (400, "after")


async def test_the_end_is_behind_the_beginning(api: Api) -> None:
    answer = await api.post("/billing/rerate", {"from": "2026-03-02", "to": "2026-03-01"})
    assert (answer.status, answer.param) == (400, "to")


async def test_a_refund_and_its_repetition(api: Api, acme: Tenant, settle: Settle) -> None:
    charged = event(acme, "2026-03-04T05:06:07")
    await settle(charged)
    attempt_id = to_wire("att", charged.attempt_id)
    body = {"attempt_id": attempt_id, "reason": "the answer was cut", "amount_usd": "0.00004"}
    once = await api.post("/billing/refunds", body, headers={"Idempotency-Key": "1"})
    again = await api.post("/billing/refunds", body, headers={"Idempotency-Key": "1"})
    assert (once.status, again.json) == (201, once.json)
    refund, usage = (await api.ok("GET", "/billing/events", key=acme.owner))["data"]
    assert refund == once.json == refund | {
        "kind": "refund", "amount_usd": "-0.00004", "corrects": usage["id"], "reason": "the answer was cut",
        "attempt_id": attempt_id, "user_id": acme.user_id, "workspace_id": acme.ws,
    }  # fmt: skip
    assert (usage["actor_kind"], usage["actor_id"]) == ("system", "mk_" + "0" * 32)
    rest = await api.post("/billing/refunds", {"attempt_id": attempt_id, "reason": "all of it"})
    assert rest.json["amount_usd"] == "-0.000002"
    assert (await api.post("/billing/refunds", {"attempt_id": attempt_id, "reason": "more"})).status == 409
    (entry, *_) = (await api.ok("GET", "/audit?verb=refund", key=acme.owner))["data"]
    assert (entry["resource_id"], entry["detail"]["amount_usd"]) == (rest.json["id"], "-0.000002")


@pytest.mark.parametrize("amount", ["0", "0.00", "-1.00", "1e3", "ten", "", "0.0000000000001", "9999999999", "1,00"])
async def test_amounts_that_are_none(api: Api, acme: Tenant, amount: str) -> None:
    answer = await api.post("/billing/credits", {"workspace_id": acme.ws, "amount_usd": amount, "reason": "x"})
    assert (answer.status, answer.param) == (400, "amount_usd")


async def test_a_credit(api: Api, acme: Tenant) -> None:
    body = {"workspace_id": acme.ws, "amount_usd": "25", "reason": "goodwill"}
    given = await api.ok("POST", "/billing/credits", body)
    assert given == given | {"kind": "credit", "amount_usd": "-25.00", "attempt_id": None, "user_id": None, "corrects": None}
    assert (await api.ok("GET", "/billing/events", key=acme.owner))["data"] == [given]
    nobody = await api.post("/billing/credits", body | {"workspace_id": "ws_" + "0" * 32})
    assert (nobody.status, nobody.param) == (404, "workspace_id")
