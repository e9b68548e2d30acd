"""Plans and price overrides: in force at once, history kept, the platform's to make."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from proxy.identity.plan import Plan
from proxy.wire.ids import to_wire
from tests.proxy.api.conftest import Api, Tenant

DEFAULTS = {
    "markup_bps": 0, "platform_fee_bps": 0, "free_fees_usd": "0.00", "internal": False, "empty_answer_free": True,
}  # fmt: skip


def terms(answer: Any) -> dict[str, Any]:
    return {name: answer[name] for name in DEFAULTS}


async def plan_of(api: Api, tenant: Tenant) -> Plan:
    return (await api.deployment.resolver.resolve_now(tenant.secret)).plan


async def llm(api: Api, name: str) -> UUID:
    found: UUID = await api.deployment.pool.fetchval("SELECT id FROM llms WHERE name = $1", name)
    return found


async def names(api: Api) -> list[str]:
    rows = await api.deployment.pool.fetch("SELECT name FROM llms WHERE status = 'active' ORDER BY name")
    return [row["name"] for row in rows]


async def test_without_a_plan_the_defaults_are_in_force(api: Api, acme: Tenant) -> None:
    answer = await api.ok("GET", f"/workspaces/{acme.ws}/plan")
    assert terms(answer) == DEFAULTS
    assert (answer["id"], answer["effective_from"], answer["workspace_id"]) == (None, None, acme.ws)
    assert await plan_of(api, acme) == Plan()


async def test_a_plan_is_in_force_at_once_and_the_one_before_it_is_kept(api: Api, acme: Tenant, rival: Tenant) -> None:
    path = f"/workspaces/{acme.ws}/plan"
    await api.deployment.resolver.resolve(acme.secret)
    epoch = await api.deployment.epoch(acme.workspace)
    first = await api.ok("PUT", path, {"markup_bps": 1_250, "free_fees_usd": "10.5"})
    assert terms(first) == DEFAULTS | {"markup_bps": 1_250, "free_fees_usd": "10.50"}
    assert await api.ok("GET", path) == first
    assert await plan_of(api, acme) == Plan(markup_bps=1_250, free_fees_pusd=10_500_000_000_000)
    assert await api.deployment.epoch(acme.workspace) == epoch + 1
    second = await api.ok("PUT", path, {"platform_fee_bps": 500, "internal": True, "empty_answer_free": False})
    assert terms(second) == DEFAULTS | {"platform_fee_bps": 500, "internal": True, "empty_answer_free": False}
    assert await plan_of(api, acme) == Plan(platform_fee_bps=500, internal=True, empty_answer_free=False)
    assert await plan_of(api, rival) == Plan()
    rows = await api.deployment.pool.fetch(
        "SELECT markup_bps, effective_from, effective_to FROM plans ORDER BY effective_from"
    )
    assert [row["markup_bps"] for row in rows] == [1_250, 0]
    assert rows[0]["effective_to"] == rows[1]["effective_from"] and rows[1]["effective_to"] is None


async def test_a_change_leaves_the_rest_as_it_is(api: Api, acme: Tenant) -> None:
    path = f"/workspaces/{acme.ws}/plan"
    await api.ok("PUT", path, {"markup_bps": 1_250, "platform_fee_bps": 500, "free_fees_usd": "1.00"})
    changed = await api.ok("PATCH", path, {"free_fees_usd": "2.00"})
    assert terms(changed) == DEFAULTS | {"markup_bps": 1_250, "platform_fee_bps": 500, "free_fees_usd": "2.00"}
    assert (await api.call("PATCH", path, {})).status == 400
    assert (await api.call("PATCH", path, {"internal": None})).status == 400


async def test_the_same_plan_again_is_no_change(api: Api, acme: Tenant) -> None:
    path = f"/workspaces/{acme.ws}/plan"
    first = await api.ok("PUT", path, {"markup_bps": 100})
    epoch = await api.deployment.epoch(acme.workspace)
    assert await api.ok("PUT", path, {"markup_bps": 100}) == first
    assert await api.deployment.epoch(acme.workspace) == epoch
    assert await api.deployment.pool.fetchval("SELECT count(*) FROM plans") == 1


async def test_a_clock_that_went_back_ends_nothing_before_it_began(api: Api, acme: Tenant) -> None:
    path = f"/workspaces/{acme.ws}/plan"
    await api.ok("PUT", path, {"markup_bps": 100})
    api.deployment.clock.advance(-60)
    await api.ok("PUT", path, {"markup_bps": 200})
    assert (await plan_of(api, acme)).markup_bps == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"markup_bps": -10_001}, "markup_bps"),
        ({"markup_bps": 1_000_001}, "markup_bps"),
        ({"markup_bps": 12.5}, "markup_bps"),
        ({"platform_fee_bps": -1}, "platform_fee_bps"),
        ({"platform_fee_bps": 10_001}, "platform_fee_bps"),
        ({"free_fees_usd": "-1.00"}, "free_fees_usd"),
        ({"free_fees_usd": "0.0000000000001"}, "free_fees_usd"),
        ({"free_fees_usd": "10000000.00"}, "free_fees_usd"),
        ({"free_fees_usd": 10}, "free_fees_usd"),
        ({"internal": "yes"}, "internal"),
        ({"effective_from": "2026-01-01T00:00:00Z"}, "effective_from"),
    ],
)
async def test_bad_plans(api: Api, acme: Tenant, body: Any, param: str) -> None:
    for method in ("PUT", "PATCH"):
        answer = await api.call(method, f"/workspaces/{acme.ws}/plan", body)
        assert (answer.status, answer.param) == (400, param)


async def test_an_override_is_in_force_at_once(api: Api, acme: Tenant) -> None:
    name, other, *_ = await names(api)
    path = f"/workspaces/{acme.ws}/prices"
    await api.ok("PUT", f"/workspaces/{acme.ws}/plan", {"markup_bps": 1_000})
    made = await api.ok("POST", path, {"llm": name, "markup_bps": -500})
    assert (made["llm"], made["markup_bps"], made["workspace_id"]) == (name, -500, acme.ws)
    plan = await plan_of(api, acme)
    assert (plan.markup_of(name), plan.markup_of(other)) == (-500, 1_000)
    one = f"{path}/{made['llm_id']}"
    changed = await api.ok("PUT", one, {"markup_bps": 300})
    assert await api.ok("GET", one) == changed
    second = await api.ok("PUT", f"{path}/{to_wire('llm', await llm(api, other))}", {"markup_bps": 0})
    assert [row["id"] for row in (await api.ok("GET", f"{path}?order=asc"))["data"]] == [changed["id"], second["id"]]
    plan = await plan_of(api, acme)
    assert (plan.markup_of(name), plan.markup_of(other)) == (300, 0)
    assert (await api.ok("DELETE", one))["deleted"] is True
    assert (await api.call("GET", one)).status == (await api.call("DELETE", one)).status == 404
    plan = await plan_of(api, acme)
    assert (plan.markup_of(name), plan.markup_of(other)) == (1_000, 0)
    rows = await api.deployment.pool.fetch("SELECT markup_bps, effective_to FROM price_overrides ORDER BY id")
    assert [(row["markup_bps"], row["effective_to"] is None) for row in rows] == [(-500, False), (300, False), (0, True)]


async def test_an_override_without_a_plan(api: Api, acme: Tenant) -> None:
    name, *_ = await names(api)
    await api.ok("POST", f"/workspaces/{acme.ws}/prices", {"llm": name, "markup_bps": 300})
    assert await plan_of(api, acme) == Plan(markups={name: 300})


async def test_bad_overrides(api: Api, acme: Tenant) -> None:
    path = f"/workspaces/{acme.ws}/prices"
    answer = await api.post(path, {"llm": "nobody", "markup_bps": 1})
    assert (answer.status, answer.param) == (400, "llm")
    assert (await api.call("PUT", f"{path}/{to_wire('llm', UUID(int=9))}", {"markup_bps": 1})).status == 404
    name, *_ = await names(api)
    assert (await api.post(path, {"llm": name, "markup_bps": -10_001})).status == 400
    nowhere = f"/workspaces/{to_wire('ws', UUID(int=9))}"
    assert (await api.call("PUT", f"{nowhere}/plan", {"markup_bps": 1})).status == 404
    assert (await api.call("PATCH", f"{nowhere}/plan", {"markup_bps": 1})).status == 404
    assert (await api.call("GET", f"{nowhere}/plan")).status == (await api.call("GET", f"{nowhere}/prices")).status == 404


async def test_only_the_platform_makes_prices_and_who_pays_may_see_them(api: Api, acme: Tenant, rival: Tenant) -> None:
    name, *_ = await names(api)
    _, billing = await api.deployment.manager(acme.workspace, "billing")
    _, viewer = await api.deployment.manager(acme.workspace, "viewer")
    plan, prices = f"/workspaces/{acme.ws}/plan", f"/workspaces/{acme.ws}/prices"
    one = f"{prices}/{to_wire('llm', await llm(api, name))}"
    for key in (acme.owner, billing):
        for path in (plan, prices):
            await api.ok("GET", path, key=key)
        assert (await api.call("GET", one, key=key)).status == 404
        for method, path, body in [
            ("PUT", plan, {}), ("PATCH", plan, {"markup_bps": 1}), ("POST", prices, {"llm": name, "markup_bps": 1}),
            ("PUT", one, {"markup_bps": 1}), ("DELETE", one, None),
        ]:  # fmt: skip
            assert (await api.call(method, path, body, key=key)).status == 403
    assert (await api.call("GET", plan, key=viewer)).status == (await api.call("GET", prices, key=viewer)).status == 403
    for path in (plan, prices, one):
        assert (await api.call("GET", path, key=rival.owner)).status == 404
