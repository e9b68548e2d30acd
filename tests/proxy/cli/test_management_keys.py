"""`synapscale management-keys` against the real management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.identity.virtual_key import KeyShape, check

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]


async def test_made_for_a_workspace_it_sees_and_may_do_no_more(cli: Cli, tmp_path: Path) -> None:
    ran = await cli("management-keys", "create", "report", "--role", "viewer", "--expires", "90d")
    assert ran.code == 0 and check(ran.out.strip()) is KeyShape.MANAGEMENT and ran.out.strip() not in ran.err
    (tmp_path / "key").write_text(ran.out)
    assert (await cli("keys", "list", "--key-file", "key")).code == 0
    refused = await cli("keys", "block", "first", "--key-file", "key")
    assert refused.code == 1 and "may not block" in refused.err
    shown = (await cli("management-keys", "show", "report", "--json")).json
    assert shown["role"] == "viewer" and shown["workspace_id"] and shown["expires_at"] and "key" not in shown


async def test_for_the_platform_is_said_so(cli: Cli) -> None:
    assert (await cli("management-keys", "create", "boss")).code == 2  # which role is not guessed
    ran = await cli("management-keys", "create", "boss", "--platform", "--role", "viewer")
    assert ran.code == 2 and "has no workspace and no role" in ran.err
    assert (await cli("management-keys", "create", "boss", "--platform")).code == 0
    rows = [line.split("\t") for line in (await cli("management-keys", "list")).out.splitlines()]
    assert [(row[1], row[4]) for row in rows] == [("boss", "platform"), ("first", "platform")]


async def test_life_of_one(cli: Cli) -> None:
    await cli("management-keys", "create", "bot", "--role", "admin", "--expires", "1d")
    assert (await cli("management-keys", "update", "bot", "--name", "robot", "--never-expires")).err == "Changed 'robot'.\n"
    assert (await cli("management-keys", "update", "robot")).code == 2
    assert (await cli("management-keys", "show", "robot", "--json")).json["expires_at"] is None
    assert (await cli("management-keys", "block", "robot")).err == "robot is blocked.\n"
    assert (await cli("management-keys", "unblock", "robot", "--json")).json["status"] == "active"
    assert (await cli("management-keys", "rotate", "robot")).code == 2  # asks first
    assert check((await cli("management-keys", "rotate", "robot", "--yes")).out.strip()) is KeyShape.MANAGEMENT
    assert (await cli("management-keys", "delete", "robot", "--yes")).code == 0
    assert [row["name"] for row in (await cli("management-keys", "list", "--json")).json] == ["first"]
