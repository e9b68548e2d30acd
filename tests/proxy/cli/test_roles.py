"""`synapscale roles` says what the API does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from proxy.audit.roles import ALLOWED

Cli = Callable[..., Awaitable[Any]]


async def test_every_right_is_listed(cli: Cli) -> None:
    rows = (await cli("roles", "--json")).json
    assert {(row["verb"], row["what"].replace(" ", "_")): set(row["roles"]) for row in rows} == ALLOWED
    assert "create\tworkspace\tplatform\n" in (await cli("roles")).out
