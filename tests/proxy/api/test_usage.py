from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from proxy.ledger import store as ledger
from proxy.ledger.entry import Row
from proxy.ledger.partitions import store as partitions
from proxy.settlement.usage_event import UsageEvent
from proxy.wire.ids import moment_of, to_wire, uuid7
from tests.proxy.api.conftest import Api, Tenant

ITEM = UUID(int=77)
AS_OF = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(tenant: Tenant, at: str, **changes: Any) -> UsageEvent:
    """100 tokens in at 150000 pusd, of which 40 cached at 75000, 50 out at 600000."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    values: dict[str, Any] = {
        "attempt_id": uuid7(int(moment.timestamp() * 1000)), "request_id": uuid7(1), "workspace_id": tenant.workspace,
        "user_id": tenant.user, "virtual_key_id": tenant.key, "llm": "gpt-mini", "provider": "openai",
        "upstream_model": "gpt-mini-2026", "surface": "chat", "key_source": "global", "provider_account": "ours",
        "usage_source": "provider", "outcome": "ok", "input_tokens": 100, "cached_tokens": 40, "output_tokens": 50,
        "reasoning_tokens": 7, "units": ["input", "cache_read", "output"], "quantities": [60, 40, 50],
        "price_item_ids": [ITEM, ITEM, ITEM], "line_list_pusd": [9_000_000, 3_000_000, 30_000_000],
        "line_charge_pusd": [9_000_000, 3_000_000, 30_000_000], "list_pusd": 42_000_000, "charge_pusd": 42_000_000,
        "raw_usage": '{"prompt_tokens":100}',
    }  # fmt: skip
    return UsageEvent(**(values | changes))


Settle = Callable[..., Awaitable[None]]


@pytest.fixture
def settle(api: Api) -> Settle:
    async def settle(*events: UsageEvent) -> None:
        rows = [Row(b"1-1", each, moment_of(each.attempt_id)) for each in events]
        async with api.deployment.pool.acquire() as db:
            await partitions.ensure(db, {row.occurred_at.date() for row in rows})
            async with ledger.transaction(db):
                await ledger.apply(db, rows, now_ms=api.deployment.clock.now_ms())
                await ledger.advance(db, 0, b"1-1", AS_OF)

    return settle


async def test_a_usage_event_says_who_what_and_how_much(api: Api, acme: Tenant, settle: Settle) -> None:
    row = event(acme, "2026-03-04T05:06:07")
    await settle(row)
    listed = await api.ok("GET", "/usage/events", key=acme.owner)
    assert listed["as_of"] == "2031-01-02T03:04:05Z"
    (shown,) = listed["data"]
    assert shown == shown | {
        "id": to_wire("att", row.attempt_id), "object": "usage_event", "occurred_at": "2026-03-04T05:06:07Z",
        "workspace_id": acme.ws, "user_id": acme.user_id, "virtual_key_id": acme.key_id, "agent_id": None,
        "input_tokens": 100, "cached_tokens": 40, "output_tokens": 50, "reasoning_tokens": 7, "key_source": "global",
        "provider_account": "ours", "usage_source": "provider", "pricing": "priced",
        "list_cost_usd": "0.000042", "charge_usd": "0.000042",
    }  # fmt: skip
    assert shown["lines"][0] == {
        "unit": "input", "quantity": 60, "price_item_id": to_wire("price", ITEM), "list_cost_usd": "0.000009",
        "charge_usd": "0.000009",
    }  # fmt: skip
    detail = await api.ok("GET", f"/usage/events/{shown['id']}", key=acme.owner)
    assert detail == shown | {"raw_usage": '{"prompt_tokens":100}', "prices": [], "corrections": []}


async def test_a_line_without_a_price(api: Api, acme: Tenant, settle: Settle) -> None:
    unpriced = event(acme, "2026-03-04T05:06:07", price_item_ids=[None, None, None], pricing="unpriced")
    await settle(unpriced, event(acme, "2026-03-04T05:06:08"))
    (shown,) = (await api.ok("GET", "/usage/events?pricing=unpriced"))["data"]
    assert [line["price_item_id"] for line in shown["lines"]] == [None] * 3


async def test_pages_in_the_order_of_time(api: Api, acme: Tenant, settle: Settle) -> None:
    events = [event(acme, f"2026-03-0{day}T00:00:00.00{number}") for day in (1, 2, 3) for number in (1, 2)]
    await settle(*events)
    ids = [to_wire("att", each.attempt_id) for each in events]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        found: list[str] = []
        after = ""
        for _ in range(6):
            page = await api.ok("GET", f"/usage/events?limit=1&order={order}{after}", key=acme.owner)
            found += [each["id"] for each in page["data"]]
            after = f"&after={page['last_id']}"
        assert found == expected
        assert page["has_more"] is False


async def test_many_in_one_millisecond_are_each_shown_once(api: Api, acme: Tenant, settle: Settle) -> None:
    events = [event(acme, "2026-03-01T00:00:00") for _ in range(7)]
    await settle(*events)
    for order in ("asc", "desc"):
        found, after = [], ""
        for _ in range(4):
            page = await api.ok("GET", f"/usage/events?limit=2&order={order}{after}")
            found += [each["id"] for each in page["data"]]
            after = f"&after={page['last_id']}"
        assert sorted(found) == sorted(to_wire("att", each.attempt_id) for each in events)


async def test_filters_by_field_and_time(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    first = event(acme, "2026-03-01T10:00:00", llm="a", end_user="zoe", outcome="abandoned", usage_source="estimated")
    second = event(acme, "2026-03-02T10:00:00", llm="b", provider="mistral", key_source="user")
    third = event(rival, "2026-03-03T10:00:00", llm="b", request_id=uuid7(9, 7))
    await settle(first, second, third)
    names = {to_wire("att", each.attempt_id): name for name, each in zip("123", (first, second, third), strict=True)}
    for query, expected in [
        ("", "321"), (f"workspace_id={acme.ws}", "21"), (f"user_id={rival.user_id}", "3"),
        (f"virtual_key_id={acme.key_id}", "21"), ("llm=b", "32"), ("provider=mistral", "2"), ("key_source=user", "2"),
        ("outcome=abandoned", "1"), ("usage_source=estimated", "1"), ("end_user=zoe", "1"), ("end_user=Zoe", ""),
        (f"request_id={to_wire('req', third.request_id)}", "3"), ("from=2026-03-02", "32"), ("to=2026-03-02", "1"),
        ("from=2026-03-01T10:00:00Z&to=2026-03-02T10:00:00Z", "1"), ("from=2026-03-02T11:00:00%2B01:00", "32"),
    ]:  # fmt: skip
        shown = await api.ok("GET", f"/usage/events?{query}")
        assert "".join(names[each["id"]] for each in shown["data"]) == expected, query
    for query in ("from=yesterday", "from=2026-03-01T00:00:00", "since=2026-03-01", "llm=", "outcome=good"):
        assert (await api.get(f"/usage/events?{query}")).status == 400, query


async def test_another_tenants_event_is_not_there(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    row = event(rival, "2026-03-01T10:00:00")
    await settle(row)
    path = f"/usage/events/{to_wire('att', row.attempt_id)}"
    assert (await api.get(path, key=acme.owner)).status == 404
    assert (await api.get(path, key=rival.owner)).status == 200
    assert (await api.ok("GET", "/usage/events", key=acme.owner))["data"] == []
    assert (await api.ok("GET", "/usage/summary?group_by=llm", key=acme.owner))["data"] == []
    assert (await api.ok("GET", "/billing/events", key=acme.owner))["data"] == []


async def test_an_id_of_the_end_of_time(api: Api) -> None:
    far = "att_" + "f" * 32
    assert (await api.get(f"/usage/events/{far}")).status == 404
    assert (await api.ok("GET", f"/usage/events?after={far}"))["data"] == []
    assert (await api.ok("GET", f"/usage/events?after={far}&order=asc"))["data"] == []


async def test_before_anything_was_written(api: Api, acme: Tenant) -> None:
    assert (await api.ok("GET", "/usage/events"))["as_of"] is None
    summary = await api.ok("GET", "/usage/summary?group_by=day")
    assert (summary["data"], summary["total"]["charge_usd"], summary["as_of"]) == ([], "0.00", None)


async def test_a_summary_adds_up_however_it_is_grouped(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    await settle(
        event(acme, "2026-03-01T10:10:00"),
        event(acme, "2026-03-01T10:50:00", key_source="user", provider_account="own", charge_pusd=0,
              line_charge_pusd=[0, 0, 0]),
        event(acme, "2026-03-01T11:10:00", llm="other", outcome="abandoned"),
        event(acme, "2026-03-02T00:00:00", provider="mistral"),
        event(rival, "2026-03-02T23:59:59.999"),
    )  # fmt: skip
    total = {
        "requests": 5, "errors": 1, "unpriced_requests": 0, "input_tokens": 500, "cached_tokens": 200,
        "output_tokens": 250, "reasoning_tokens": 35, "list_cost_usd": "0.00021", "charge_usd": "0.000168",
    }  # fmt: skip
    for group, groups in [
        ("llm", 2), ("provider", 2), ("user_id", 2), ("virtual_key_id", 2), ("workspace_id", 2), ("key_source", 2),
        ("day", 2), ("hour", 4), ("day,llm", 3), ("workspace_id,key_source,hour", 5),
    ]:  # fmt: skip
        summary = await api.ok("GET", f"/usage/summary?group_by={group}")
        assert summary["total"] == total
        assert len(summary["data"]) == groups, group
        for name in ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
            assert sum(row[name] for row in summary["data"]) == total[name]
        for row in summary["data"]:
            named = {name for name, value in row.items() if value is None}
            assert not named & set(group.split(","))
    by_day = await api.ok("GET", "/usage/summary?group_by=day", key=acme.owner)
    assert [(row["day"], row["requests"], row["charge_usd"]) for row in by_day["data"]] == [
        ("2026-03-01", 3, "0.000084"), ("2026-03-02", 1, "0.000042"),
    ]  # fmt: skip
    by_hour = await api.ok(
        "GET", "/usage/summary?group_by=hour&from=2026-03-01T11:00:00Z&to=2026-03-02", key=acme.owner
    )
    assert [(row["hour"], row["requests"]) for row in by_hour["data"]] == [("2026-03-01T11:00:00Z", 1)]
    part = await api.ok("GET", "/usage/summary?group_by=day&from=2026-03-01T11:00:00Z", key=acme.owner)
    assert [(row["day"], row["requests"]) for row in part["data"]] == [("2026-03-01", 1), ("2026-03-02", 1)]
    for query, requests in [
        ("llm=other", 1),
        ("key_source=user", 1),
        ("provider=mistral", 1),
        (f"user_id={acme.user_id}", 4),
    ]:
        summary = await api.ok("GET", f"/usage/summary?group_by=day&{query}")
        assert summary["total"]["requests"] == requests


async def test_a_summary_says_how_many_requests_have_no_price(api: Api, acme: Tenant, settle: Settle) -> None:
    nothing = {"line_list_pusd": [0, 0, 0], "line_charge_pusd": [0, 0, 0], "list_pusd": 0, "charge_pusd": 0}
    unpriced = event(acme, "2026-03-01T10:10:00", llm="new", outcome="abandoned", pricing="unpriced", **nothing)
    await settle(unpriced, event(acme, "2026-03-01T10:20:00"))
    for group in ("llm", "hour,llm"):
        summary = await api.ok("GET", f"/usage/summary?group_by={group}", key=acme.owner)
        found = {row["llm"]: (row["requests"], row["unpriced_requests"], row["charge_usd"]) for row in summary["data"]}
        assert found == {"new": (1, 1, "0.00"), "gpt-mini": (1, 0, "0.000042")}
        assert (summary["total"]["requests"], summary["total"]["unpriced_requests"]) == (2, 1)
    await settle(event(acme, "2026-03-01T10:10:00", llm="new", attempt_id=unpriced.attempt_id))
    summary = await api.ok("GET", "/usage/summary?group_by=llm", key=acme.owner)
    assert summary["total"]["unpriced_requests"] == 0


async def test_bad_summaries(api: Api) -> None:
    for query, param in [
        ("", "group_by"), ("group_by=", "group_by.0"), ("group_by=key", "group_by.0"), ("group_by=llm,x", "group_by.1"),
        ("group_by=llm&from=2026-03-01T10:30:00Z", "from"), ("group_by=day&limit=5", "limit"),
        ("group_by=llm;drop table", "group_by.0"),
    ]:  # fmt: skip
        answer = await api.get(f"/usage/summary?{query}")
        assert (answer.status, answer.param) == (400, param), query


async def test_billing_events(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    abandoned = event(acme, "2026-03-01T10:00:00", outcome="abandoned")
    own = event(acme, "2026-03-01T11:00:00", provider_account="own", charge_pusd=0, line_charge_pusd=[0, 0, 0])
    await settle(abandoned, own, event(rival, "2026-03-01T12:00:00"))
    final = event(
        acme, "2026-03-01T10:00:00", attempt_id=abandoned.attempt_id, charge_pusd=30_000_000, list_pusd=30_000_000,
        line_charge_pusd=[0, 0, 30_000_000], line_list_pusd=[0, 0, 30_000_000],
    )  # fmt: skip
    await settle(final)
    listed = await api.ok("GET", "/billing/events?order=asc", key=acme.owner)
    usage, correction = listed["data"]
    assert (usage["kind"], usage["amount_usd"], usage["corrects"]) == ("usage", "0.000042", None)
    assert (correction["kind"], correction["amount_usd"], correction["corrects"]) == (
        "adjustment", "-0.000012", usage["id"],
    )  # fmt: skip
    assert listed["as_of"] == "2031-01-02T03:04:05Z"
    for query, count in [
        ("kind=adjustment", 1), (f"workspace_id={rival.ws}", 1), (f"attempt_id={usage['attempt_id']}", 2),
        ("from=2026-03-01T12:00:00Z", 1), (f"user_id={acme.user_id}", 2), (f"virtual_key_id={rival.key_id}", 1),
    ]:  # fmt: skip
        assert len((await api.ok("GET", f"/billing/events?{query}"))["data"]) == count, query


async def test_me(api: Api, acme: Tenant, rival: Tenant, settle: Settle) -> None:
    now = api.deployment.clock.now()
    this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None).isoformat()
    await settle(event(acme, "2026-03-01T10:00:00"), event(acme, this_month), event(rival, this_month))
    me = await api.ok("GET", "/me", key=acme.secret)
    assert (me["id"], me["key"]["name"], me["user"]["email"], me["workspace"]["name"]) == (
        acme.key_id, "acme-key", "ann@acme.test", "acme",
    )  # fmt: skip
    assert me["llms"] == ["gpt-mini", "mistral-large"]
    assert (me["spend"]["month"]["charge_usd"], me["spend"]["total"]["charge_usd"]) == ("0.000042", "0.000084")
    assert (me["budgets"], me["limits"]) == ([], [])
    assert me["as_of"] == "2031-01-02T03:04:05Z"
    assert acme.secret not in str(me)

    await api.ok("PATCH", f"/virtual-keys/{acme.key_id}", {"llms": ["gpt-mini"]})
    assert (await api.ok("GET", "/me", key=acme.secret))["llms"] == ["gpt-mini"]
    await api.ok("POST", f"/virtual-keys/{acme.key_id}/block")
    assert (await api.get("/me", key=acme.secret)).code == "key_blocked"
    assert (await api.get("/me", key=acme.owner)).code == "wrong_key_kind"
    assert (await api.get("/me?x=1", key=rival.secret)).param == "x"
