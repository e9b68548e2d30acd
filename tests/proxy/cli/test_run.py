"""`synapscale run`: the child finds the gateway by itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.run import environment
from proxy.cli.where import Gateway
from tests.gateway import RunningGateway, gateway
from tests.upstream.plugin import upstream

__all__ = ["gateway", "upstream"]

Cli = Callable[..., Awaitable[Any]]
ROOT = Path(__file__).parents[3]


async def start(url: str, key: str, *command: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "run", "--url", url, "--", *command, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "SYNAPSCALE_API_KEY": key, "OPENAI_API_KEY": "another"},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_child_is_answered_and_its_status_is_ours(gateway: RunningGateway) -> None:
    program = (
        "import sys; from openai import OpenAI\n"
        "answer = OpenAI().chat.completions.create(model=sys.argv[2], messages=[{'role': 'user', 'content': 'hi'}])\n"
        "print(answer.choices[0].message.content); sys.exit(7)"
    )
    code, out, err = await start(gateway.url, gateway.key, sys.executable, "-c", program, "--json", "synapscale/echo")
    assert (code, out) == (7, "hi\n"), err


async def test_wrong_key_is_told_before_anything_starts(gateway: RunningGateway, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    code, _, err = await start(gateway.url, "sk-syn-wrong", "touch", str(mark))
    assert code == 4 and "SYNAPSCALE_API_KEY" in err and not mark.exists()


async def test_command_that_is_not_there(gateway: RunningGateway) -> None:
    code, out, err = await start(gateway.url, gateway.key, "no-such-program")
    assert (code, out, err) == (1, "", "Error: no-such-program: No such file or directory.\n")


async def test_options_of_the_child_need_no_dashes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("proxy.cli.run._try", lambda place, key, data_dir: None)
    monkeypatch.setattr(os, "execvpe", lambda name, argv, env: seen.append(argv))
    monkeypatch.setenv("SYNAPSCALE_API_KEY", "sk-syn-x")
    await cli("run", "python", "app.py", "--url", "mine", "--help")
    assert seen == [["python", "app.py", "--url", "mine", "--help"]]
    assert (await cli("run")).code == 2


def test_environment() -> None:
    found = environment(Gateway("https://g", Path("/own.pem")), "sk-syn-x")
    assert found == {
        "OPENAI_BASE_URL": "https://g/v1", "OPENAI_API_BASE": "https://g/v1", "OPENAI_API_KEY": "sk-syn-x",
        "SYNAPSCALE_API_KEY": "sk-syn-x", "SYNAPSCALE_URL": "https://g", "NODE_EXTRA_CA_CERTS": "/own.pem",
    }
    assert "NODE_EXTRA_CA_CERTS" not in environment(Gateway("http://g"), "sk-syn-x")
    assert json.dumps(found)  # text alone


async def test_help_names_all_that_is_set(cli: Cli) -> None:
    said = (await cli("run", "--help")).out
    assert [name for name in environment(Gateway("https://g", Path("/own.pem")), "sk-syn-x") if name not in said] == []
