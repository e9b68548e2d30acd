"""`synapscale workspaces`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]


async def test_create_show_and_members(cli: Cli) -> None:
    ran = await cli("workspaces", "create", "Research")
    assert ran.code == 0 and ran.out.startswith("ws_") and len(ran.out.split()) == 1
    await cli("users", "create", "ada@example.com", "--name", "Ada")
    ran = await cli("workspaces", "add-member", "Research", "ADA@example.com", "--role", "admin")
    assert ran.code == 0
    (member,) = (await cli("workspaces", "members", "Research", "--json")).json
    assert member["role"] == "admin" and member["email"] == "ada@example.com"
    assert (await cli("workspaces", "show", ran.out or "Research", "--json")).json["name"] == "Research"
    assert {row["name"] for row in (await cli("workspaces", "list", "--json")).json} == {"default", "Research"}


async def test_the_only_one_needs_no_name(cli: Cli) -> None:
    ran = await cli("workspaces", "show")
    assert "NAME\tdefault" in ran.out.splitlines()
    (line,) = (await cli("workspaces", "members")).out.splitlines()
    assert line.split("\t")[1:] == ["owner@localhost", "Owner", "owner"]


async def test_wrong_role_is_told_by_the_gateway(cli: Cli) -> None:
    ran = await cli("workspaces", "add-member", "default", "owner@localhost", "--role", "king")
    assert ran.code == 1 and "role" in ran.err and "Request req_" in ran.err


async def test_key_policy_and_time_zone(cli: Cli) -> None:
    await cli("workspaces", "create", "acme", "--key-policy", "own_only", "--time-zone", "Europe/Berlin")
    shown = (await cli("workspaces", "show", "acme", "--json")).json
    assert (shown["key_policy"], shown["time_zone"]) == ("own_only", "Europe/Berlin")
    after = (await cli("workspaces", "update", "acme", "--key-policy", "global_only", "--name", "Acme", "--json")).json
    assert (after["key_policy"], after["name"]) == ("global_only", "Acme")
    ran = await cli("workspaces", "update", "Acme", "--key-policy", "mine")
    assert ran.code == 1 and "--key-policy: allowed is 'own_else_global'" in ran.err
    assert (await cli("workspaces", "update", "Acme")).code == 2


async def test_block(cli: Cli) -> None:
    assert (await cli("workspaces", "block", "default")).err == "default is blocked.\n"
    assert (await cli("workspaces", "unblock", "default", "--json")).json["status"] == "active"


async def test_member_gets_another_role_and_leaves(cli: Cli) -> None:
    await cli("users", "create", "ann@example.com")
    await cli("workspaces", "add-member", "default", "ann@example.com")
    assert (await cli("workspaces", "set-role", "default", "ann@example.com", "billing")).err == (
        "ann@example.com is billing of 'default'.\n"
    )
    assert "ann@example.com\t\tbilling\n" in (await cli("workspaces", "members")).out
    ran = await cli("workspaces", "set-role", "default", "ann@example.com", "king")
    assert ran.code == 1 and "--role: allowed is 'owner'" in ran.err
    assert (await cli("workspaces", "remove-member", "default", "ann@example.com")).code == 2  # asks first
    assert (await cli("workspaces", "remove-member", "default", "ann@example.com", "--yes")).code == 0
    assert "ann@" not in (await cli("workspaces", "members")).out


async def test_what_becomes_of_answers_that_a_client_leaves(cli: Cli) -> None:
    await cli("workspaces", "create", "acme", "--client-leaves", "drain")
    assert (await cli("workspaces", "show", "acme", "--json")).json["client_leaves"] == "drain"
    after = await cli("workspaces", "update", "acme", "--client-leaves", "void", "--json")
    assert after.json["client_leaves"] == "void"
    ran = await cli("workspaces", "update", "acme", "--client-leaves", "never")
    assert ran.code == 1 and "allowed is 'auto'" in ran.err


async def test_a_plan_is_shown_and_changed(cli: Cli) -> None:
    before = await cli("workspaces", "plan")
    assert before.out.splitlines() == [
        "MARKUP\t0%", "PLATFORM FEE\t0%", "FREE FEES A MONTH\t0.00", "INTERNAL\tno", "EMPTY ANSWERS FREE\tyes", "SINCE\t",
    ]  # fmt: skip
    ran = await cli("workspaces", "plan", "default", "--markup", "12.5%", "--free-fees", "10.5")
    assert "MARKUP\t12.5%" in ran.out.splitlines() and ran.err == "This is the plan of 'default' from now on.\n"
    after = (await cli("workspaces", "plan", "default", "--platform-fee", "500bps", "--empty-answers-charged", "--json")).json
    assert {name: after[name] for name in ("markup_bps", "platform_fee_bps", "free_fees_usd", "internal")} == {
        "markup_bps": 1_250, "platform_fee_bps": 500, "free_fees_usd": "10.50", "internal": False,
    }  # fmt: skip
    assert after["empty_answer_free"] is False
    assert (await cli("workspaces", "plan", "default", "--internal", "--json")).json["internal"] is True
    assert (await cli("workspaces", "plan", "default", "--markup", "12.5")).code == 2
    ran = await cli("workspaces", "plan", "default", "--free-fees", "-1")
    assert ran.code == 1 and "must be USD, 0 or more" in ran.err


async def test_a_markup_for_one_llm(cli: Cli, pool: Any) -> None:
    await pool.execute("INSERT INTO llms (id, name, managed_by) VALUES (gen_random_uuid(), 'gpt', 'config')")
    ran = await cli("workspaces", "override", "default", "gpt", "--markup", "-10%")
    assert ran.err == "'default' has a markup of -10% for gpt from now on.\n"
    (line,) = (await cli("workspaces", "override", "default")).out.splitlines()
    assert line.split("\t")[:2] == ["gpt", "-10%"]
    assert (await cli("workspaces", "override", "default", "gpt", "--remove")).code == 0
    assert (await cli("workspaces", "override", "default", "--json")).json == []
    assert (await cli("workspaces", "override", "default", "gpt")).code == 2
    ran = await cli("workspaces", "override", "default", "gtp", "--markup", "1%")
    assert ran.code == 1 and "no llm `gtp`" in ran.err
