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
