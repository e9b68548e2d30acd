"""`synapscale users`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]


async def test_create_list_show(cli: Cli) -> None:
    ran = await cli("users", "create", "ada@example.com", "--name", "Ada")
    assert ran.code == 0 and ran.out.startswith("user_")
    for name in ("ada@example.com", "Ada", ran.out.strip()):
        assert (await cli("users", "show", name, "--json")).json["email"] == "ada@example.com"
    assert len((await cli("users", "list")).out.splitlines()) == 2


async def test_the_same_address_twice(cli: Cli) -> None:
    ran = await cli("users", "create", "owner@localhost")
    assert ran.code == 1 and ran.out == "" and "Request req_" in ran.err


async def test_every_page_is_read(cli: Cli) -> None:
    for number in range(3):
        await cli("users", "create", f"u{number}@example.com")
    assert len((await cli("users", "list", "--limit", "2")).out.splitlines()) == 2
    assert len((await cli("users", "list", "--json")).json) == 4


async def test_block_stops_and_unblock_lets_work(cli: Cli) -> None:
    assert (await cli("users", "block", "owner@localhost")).err == "owner@localhost is blocked.\n"
    assert (await cli("users", "show", "owner@localhost", "--json")).json["status"] == "blocked"
    assert (await cli("users", "unblock", "Owner", "--json")).json["status"] == "active"


async def test_update(cli: Cli) -> None:
    after = (await cli("users", "update", "owner@localhost", "--email", "me@example.com", "--name", "Me", "--json")).json
    assert (after["email"], after["name"]) == ("me@example.com", "Me")
    assert (await cli("users", "update", "me@example.com")).code == 2


async def test_of_one_workspace(cli: Cli) -> None:
    await cli("users", "create", "stranger@example.com")
    assert len((await cli("users", "list", "--json")).json) == 2
    assert [row["email"] for row in (await cli("users", "list", "-w", "default", "--json")).json] == ["owner@localhost"]
