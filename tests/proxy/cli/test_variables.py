"""`synapscale variables`: a secret goes in through a pipe and never comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.storage.postgres import Pool

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]
SECRET = "sk-proj-canary-0123456789abcdef"


@pytest.fixture(autouse=True)
async def provider(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO providers (id, name, dialect, base_url) VALUES (gen_random_uuid(), 'openai', 'openai', 'https://x/v1')"
    )


async def test_set_replace_list_delete(cli: Cli) -> None:
    ran = await cli("variables", "set", "openai", "--stdin", stdin=SECRET + "\n")
    assert (ran.code, ran.out) == (0, "") and "Stored the key of openai (…cdef, uv_" in ran.err
    ran = await cli("variables", "set", "openai", "--stdin", "--expires", "30d", stdin="sk-proj-canary-other-9999\n")
    assert ran.code == 0 and "Replaced" in ran.err and "canary" not in ran.err
    (row,) = (await cli("variables", "list", "--json")).json
    assert row["hint"] == "…9999" and row["scope"] == "workspace" and row["expires_at"]
    assert "canary" not in (await cli("variables", "list")).out
    assert (await cli("variables", "delete", row["id"], "--yes")).code == 0
    assert (await cli("variables", "list", "--json")).json == []


async def test_for_one_user(cli: Cli) -> None:
    ran = await cli("variables", "set", "openai", "--user", "owner@localhost", "--stdin", "--json", stdin=SECRET)
    assert ran.json["scope"] == "user" and ran.json["user_id"].startswith("user_")
    # Another scope is another variable, not a replacement.
    await cli("variables", "set", "openai", "--stdin", stdin=SECRET)
    assert len((await cli("variables", "list", "--json")).json) == 2


async def test_secret_is_never_an_argument(cli: Cli) -> None:
    ran = await cli("variables", "set", "openai", SECRET)
    assert ran.code == 2
    ran = await cli("variables", "set", "openai", "--value", SECRET)
    assert ran.code == 2 and "No such option" in ran.err


async def test_without_terminal_and_without_stdin(cli: Cli) -> None:
    ran = await cli("variables", "set", "openai", stdin=SECRET)
    assert ran.code == 2 and "--stdin" in ran.err and "canary" not in ran.err


async def test_unknown_provider(cli: Cli) -> None:
    ran = await cli("variables", "set", "opneai", "--stdin", stdin=SECRET)
    assert ran.code == 1 and "opneai" in ran.err and "canary" not in ran.err
