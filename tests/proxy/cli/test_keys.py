"""`synapscale keys` against the real management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxy.identity.virtual_key import KeyShape, check

pytestmark = pytest.mark.usefixtures("api")
Cli = Callable[..., Awaitable[Any]]


async def test_secret_alone_is_on_stdout(cli: Cli) -> None:
    ran = await cli("keys", "create", "ci", "--llm", "synapscale/echo", "--expires", "90d")
    assert ran.code == 0
    assert check(ran.out.removesuffix("\n")) is KeyShape.VIRTUAL
    assert "shown this once" in ran.err and ran.out.strip() not in ran.err
    shown = (await cli("keys", "show", "ci", "--json")).json
    assert shown["llms"] == ["synapscale/echo"] and shown["expires_at"] and "key" not in shown


async def test_list_is_tsv_in_a_pipe_and_json_on_demand(cli: Cli) -> None:
    ran = await cli("keys", "list")
    assert ran.code == 0
    (line,) = ran.out.splitlines()
    cells = line.split("\t")
    assert cells[0].startswith("key_") and cells[1] == "first" and cells[2].startswith("sk-syn-…") and cells[4] == "all"
    assert [row["id"] for row in (await cli("keys", "list", "--json")).json] == [cells[0]]


async def test_empty_list_is_empty_and_no_error(cli: Cli) -> None:
    await cli("keys", "delete", "first", "--yes")
    assert (await cli("keys", "list")) == (0, "", "")
    assert (await cli("keys", "list", "--json")).json == []


async def test_block_and_unblock_by_name(cli: Cli) -> None:
    assert (await cli("keys", "block", "first")).err == "first is blocked.\n"
    assert (await cli("keys", "show", "first", "--json")).json["status"] == "blocked"
    assert (await cli("keys", "unblock", "first", "--json")).json["status"] == "active"


async def test_rotate_asks_first_and_gives_another_key(cli: Cli) -> None:
    refused = await cli("keys", "rotate", "first")
    assert refused.code == 2 and "--yes" in refused.err and refused.out == ""
    before = (await cli("keys", "show", "first", "--json")).json["hint"]
    ran = await cli("keys", "rotate", "first", "--yes")
    assert check(ran.out.strip()) is KeyShape.VIRTUAL
    assert (await cli("keys", "show", "first", "--json")).json["hint"] != before


async def test_import_of_a_literal_from_a_pipe(cli: Cli) -> None:
    ran = await cli("keys", "create", "old", "--stdin", stdin="my-old-literal-key-000\n")
    assert ran.code == 0 and ran.out == "" and "Imported 'old'" in ran.err and "literal" not in ran.err
    ran = await cli("keys", "create", "old too", "--stdin", "--json", stdin="my-old-literal-key-001\n")
    assert ran.json["name"] == "old too" and "literal" not in ran.out
    assert (await cli("keys", "show", "old", "--json")).json["imported"] is True


async def test_unknown_name_says_what_to_do(cli: Cli) -> None:
    ran = await cli("keys", "show", "nobody")
    assert ran.code == 2
    assert ran.err == "Error: No 'nobody' among virtual keys.\nTry:   synapscale keys list\n"


async def test_name_of_two_keys_asks_for_the_id(cli: Cli) -> None:
    await cli("keys", "create", "first")
    ran = await cli("keys", "block", "first")
    assert ran.code == 2 and ran.err.count("key_") == 2


async def test_refusal_is_shown_with_its_request_id(cli: Cli) -> None:
    ran = await cli("keys", "create", "x", "--llm", "no-such-llm")
    assert ran.code == 1 and "no-such-llm" in ran.err and "\nRequest req_" in ran.err and ran.out == ""


async def test_wrong_management_key_is_not_signed_in(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-" + "0" * 46)
    ran = await cli("keys", "list")
    assert ran.code == 4 and "Try:" in ran.err and "sk-adm-" + "0" * 46 not in ran.err


async def test_virtual_key_in_the_place_of_a_management_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (await cli("keys", "create", "ci")).out.strip()
    monkeypatch.setenv("SYNAPSCALE_KEY", made)
    ran = await cli("keys", "list")
    assert ran.code == 4 and made not in ran.err


async def test_several_workspaces_must_be_told_apart(cli: Cli) -> None:
    await cli("workspaces", "create", "second")
    ran = await cli("keys", "create", "ci")
    assert ran.code == 2 and "--workspace NAME" in ran.err
    assert (await cli("keys", "create", "ci", "-w", "default")).code == 0


async def test_update(cli: Cli) -> None:
    assert (await cli("keys", "update", "first", "--llm", "synapscale/echo", "--expires", "90d")).err == "Changed 'first'.\n"
    shown = (await cli("keys", "show", "first", "--json")).json
    assert shown["llms"] == ["synapscale/echo"] and shown["expires_at"]
    after = (await cli("keys", "update", "first", "--all-llms", "--never-expires", "--name", "other", "--json")).json
    assert (after["llms"], after["expires_at"], after["name"]) == (None, None, "other")


async def test_update_of_nothing_or_of_opposites(cli: Cli) -> None:
    for options in ([], ["--llm", "synapscale/echo", "--all-llms"], ["--expires", "1d", "--never-expires"]):
        assert (await cli("keys", "update", "first", *options)).code == 2
