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
