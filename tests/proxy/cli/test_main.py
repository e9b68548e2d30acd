"""The command line as a whole: what it imports, how it fails, what it never takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from proxy.cli.main import app

Cli = Callable[..., Awaitable[Any]]


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def test_the_commands_of_the_issue_are_there() -> None:
    assert {path[0] for path in COMMANDS} == {
        "serve", "gateway", "worker", "migrate", "status", "doctor", "chat", "prices", "keys", "variables", "workspaces", "users",
        "requests", "usage", "completion", "snippet", "run", "config", "providers", "llms", "models", "management-keys",
        "roles", "master-key", "backup", "restore", "alerts", "billing", "rerate", "export", "verify",
    }
    assert {("requests", verb) for verb in ("list", "show", "tail")} <= set(COMMANDS)
    of_keys = ("create", "list", "show", "block", "unblock", "rotate", "delete")
    assert {("keys", verb) for verb in of_keys} <= set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([path, "--help"] for path in ("keys", "serve", "config", "llms", "run"))],
)
def test_help_imports_neither_aiohttp_nor_pydantic(arguments: list[str]) -> None:
    code = (
        "import sys; from proxy.cli.main import run; code = run(sys.argv[1:]);"
        "heavy = {'aiohttp', 'pydantic', 'asyncpg', 'redis', 'cryptography'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(("typed", "expected"), [("ke", "keys"), ("keys cr", "create"), ("config sh", "show")])
def test_completion_imports_neither(typed: str, expected: str) -> None:
    code = (
        "import sys, atexit; from proxy.cli.main import run;"
        "atexit.register(lambda: print({'aiohttp', 'pydantic'} & set(sys.modules)));"
        "run([])"
    )
    asked = {"_SYNAPSCALE_COMPLETE": "complete_bash", "COMP_WORDS": f"synapscale {typed}"}
    asked["COMP_CWORD"] = str(len(typed.split()))
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert (ran.stdout.split("\n"), ran.stderr) == ([expected, "set()", ""], "")


def test_completion_of_a_value() -> None:
    asked = {
        "_SYNAPSCALE_COMPLETE": "complete_bash", "COMP_WORDS": "synapscale snippet opencod", "COMP_CWORD": "2"
    }
    argv = [sys.executable, "-c", "from proxy.cli.main import run; run([])"]
    ran = subprocess.run(argv, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("opencode\n", "")


async def test_completion_script_asks_with_that_variable(cli: Cli) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert f"_SYNAPSCALE_COMPLETE=complete_{shell}" in (await cli("completion", shell)).out


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_takes_no_secret(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path} {parameter.name} has no help"
        # A flag with a secret would stand in the history and in the list of processes. Names of files are none.
        if parameter.param_type_name == "option":
            assert not re.search(r"secret|password|token|^key$|value", parameter.name)


def test_documented_are_the_commands_that_there_are() -> None:
    text = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    documented = re.findall(r"^\| `([a-z -]+)` \| .", text, re.MULTILINE)
    assert sorted(documented) == sorted(" ".join(path) for path in COMMANDS)


def test_every_command_that_prints_results_has_json() -> None:
    without = {
        path for path, command in COMMANDS.items()
        if "--json" not in {name for parameter in command.params for name in parameter.opts}
    }
    deletes = {("keys", "delete"), ("variables", "delete"), ("management-keys", "delete"), ("workspaces", "remove-member")}
    of_master_key = {("master-key", verb) for verb in ("rotate", "retire", "reset")}
    assert without - {("backup",), ("restore",)} == {
        ("serve",), ("gateway",), ("worker",), ("run",), ("completion",), *deletes, *of_master_key
    }


async def test_wrong_usage_is_2(cli: Cli) -> None:
    for arguments in (["kyes"], ["keys", "show"], ["keys", "list", "--limit", "0"], ["serve", "--port", "x"]):
        assert (await cli(*arguments)).code == 2


async def test_no_key_is_4(cli: Cli) -> None:
    ran = await cli("keys", "list")
    assert ran.code == 4
    assert ran.err.startswith("Error: Not signed in") and "\nTry:   export SYNAPSCALE_KEY=" in ran.err


async def test_no_gateway_is_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-x")
    ran = await cli("keys", "list", "--url", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "Error: http://127.0.0.1:9 does not answer: Connection refused.\n"
        "Try:   synapscale serve, or another address with --url\n"
    )


@pytest.mark.parametrize("url", ["ftp://x", "localhost:4000", "http://127.0.0.1:port"])
async def test_bad_address(cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-x")
    ran = await cli("keys", "list", "--url", url)
    assert ran.code in (1, 2) and "no address" in ran.err


async def test_mistake_in_the_configuration_is_2(cli: Cli, tmp_path: Any) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 1}\n")
    for arguments in (["serve"], ["gateway"], ["migrate"]):
        ran = await cli(*arguments)
        assert ran.code == 2 and "config.yaml:1: server.prot" in ran.err


async def test_single_process_without_stores(cli: Cli, tmp_path: Any) -> None:
    (tmp_path / "config.yaml").write_text("")
    for role in ("gateway", "worker"):
        ran = await cli(role)
        assert ran.code == 2 and "DATABASE_URL and REDIS_URL must be set" in ran.err


def test_reader_that_went_away_is_no_error(tmp_path: Any) -> None:
    script = tmp_path / "many.py"
    script.write_text(
        "import sys\nfrom proxy.cli import main\nfrom proxy.cli.output import Column, show_rows\n"
        "def show(*_, **__):\n    show_rows([{'a': 'x' * 100}] * 100000, [Column('A', 'a')], as_json=False, empty='')\n"
        "main.get_command = lambda app: show\nsys.exit(main.run([]))\n"
    )
    command = f"{sys.executable} {script} | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("x" * 100 + "\n0\n", "")
