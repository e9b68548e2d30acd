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
