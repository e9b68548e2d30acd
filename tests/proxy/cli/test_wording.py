"""Words of the API where a person typed a command."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.wording import for_commands

Cli = Callable[..., Awaitable[Any]]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("users create nobody", "That is no e-mail address"),
        ("usage --by colour", "--by: allowed is '"),
        ("workspaces add-member default x@example.com --role king", "--role: allowed is 'owner'"),
        ("keys create x --llm zzz", "synapscale llms list shows them"),
    ],
)
async def test_refusal_names_what_was_typed(cli: Cli, command: str, said: str) -> None:
    await cli("users", "create", "x@example.com")
    ran = await cli(*command.split())
    assert ran.code == 1 and said in ran.err, ran.err
    assert not any(word in ran.err for word in ("/api/v1", "PATCH", "`group_by", "[^"))


def test_member_twice() -> None:
    message = "This user is a member already. Change the role with PATCH on the member."
    assert for_commands(message) == "This user is a member already."


def test_other_words_stay() -> None:
    for message in ("No such key.", "is required: the name of an llm (GET /v1/models lists them)"):
        assert for_commands(message) == message


@pytest.mark.usefixtures("api")
async def test_folder_of_somebody_else_is_not_in_the_way(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a `.synapscale` of root in the folder where somebody works."""
    key = (tmp_path / ".synapscale/admin-key").read_text().strip()
    (tmp_path / "key").write_text(key)
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: ".synapscale" not in str(path) and may(path, *rest, **more))
    for command in (("keys", "list"), ("keys", "list", "--key-file", str(tmp_path / "key")), ("status",)):
        ran = await cli(*command)
        assert ran.code == 0, ran.err
