"""`synapscale snippet`: what is printed is what the tool reads, and the address and the key in it work."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import yaml

from proxy.cli.snippets import REFERENCES, SNIPPETS
from tests.gateway import RunningGateway, gateway
from tests.upstream.plugin import upstream

__all__ = ["gateway", "upstream"]

Cli = Callable[..., Awaitable[Any]]
BASE = "https://gateway.example"
KEY = "sk-syn-canary"
NO_V1 = {"anthropic", "claude-code"}
SHELL = {"curl", "env", "claude-code", "aider"}
PYTHON = {"python", "langchain", "llama-index", "pydantic-ai", "anthropic"}
# Where a tool asks for the key by a name of its own, or by none.
BY_NAME = {"codex": 'env_key = "SYNAPSCALE_API_KEY"', "opencode": "{env:SYNAPSCALE_API_KEY}"}


async def run(argv: list[str], key: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, "SYNAPSCALE_API_KEY": key}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_list(cli: Cli) -> None:
    rows = (await cli("snippet", "--json")).json
    assert [row["tool"] for row in rows] == list(SNIPPETS) and all(row["what"] for row in rows)
    assert (await cli("snippet")).out.startswith("curl\t")
    assert (await cli("snippet", "emacs")).code == 2


@pytest.mark.parametrize("tool", SNIPPETS)
async def test_every_snippet(cli: Cli, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a running gateway. The key is in the text only where that was asked for."""
    monkeypatch.setenv("SYNAPSCALE_API_KEY", KEY)
    ran = await cli("snippet", tool, "--url", "http://127.0.0.1:9/v1", "--llm", "gpt-4o-mini")
    assert ran.code == 0 and ran.err.strip() and "@" not in ran.out.replace("@ai-sdk", "")
    base = "http://127.0.0.1:9" if tool in NO_V1 else "http://127.0.0.1:9/v1"
    assert base in ran.out and (tool in NO_V1) == ("127.0.0.1:9/v1" not in ran.out)
    assert KEY not in ran.out and BY_NAME.get(tool, REFERENCES[SNIPPETS[tool].key]) in ran.out
    assert tool in ("env", "open-webui") or "gpt-4o-mini" in ran.out
    with_key = (await cli("snippet", tool, "--url", "http://127.0.0.1:9", "--show-key")).out
    assert (KEY in with_key) == (tool not in BY_NAME)


@pytest.mark.parametrize("tool", SNIPPETS)
async def test_it_is_in_the_tools_language(cli: Cli, tool: str) -> None:
    text = (await cli("snippet", tool, "--url", BASE)).out
    if tool in SHELL:
        assert await run(["bash", "-n", "-c", text], "") == ""
    elif tool in PYTHON:
        compile(text, tool, "exec")
    elif tool == "codex":
        assert tomllib.loads(text)["model_providers"]["synapscale"]["base_url"] == f"{BASE}/v1"
    elif tool == "opencode":
        assert json.loads(text)["model"] == "synapscale/synapscale/echo"
    elif tool in ("continue", "librechat"):
        assert f"{BASE}/v1" in str(yaml.safe_load(text))


async def test_as_printed_it_is_answered(cli: Cli, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (await cli("snippet", "python", "--url", gateway.url)).out
    assert await run([sys.executable, "-c", text], gateway.key) == "hi\n"
    monkeypatch.setenv("SYNAPSCALE_API_KEY", gateway.key)
    text = (await cli("snippet", "python", "--url", gateway.url, "--show-key")).out
    assert await run([sys.executable, "-c", text], "another") == "hi\n"
    text = (await cli("snippet", "curl", "--url", gateway.url)).out
    assert json.loads(await run(["bash", "-c", text], gateway.key))["choices"][0]["message"]["content"] == "hi"
    program = "from openai import OpenAI; print(OpenAI().models.list().data[0].id)"
    text = (await cli("snippet", "env", "--url", gateway.url)).out
    assert await run(["bash", "-c", f"{text}\n{sys.executable} -c '{program}'"], gateway.key)


async def test_surface_that_is_not_served_is_told(cli: Cli, gateway: RunningGateway) -> None:
    assert "does not serve" not in (await cli("snippet", "python", "--url", gateway.url)).err
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SNIPPETS, "python", SNIPPETS["python"]._replace(surface="/v1/no-such-surface"))
        assert "does not serve /v1/no-such-surface" in (await cli("snippet", "python", "--url", gateway.url)).err


@pytest.mark.parametrize(
    ("url", "warns"),
    [("http://localhost:4000", True), ("http://10.0.0.1", True), ("http://gw.internal", True), (BASE, False)],
)
async def test_tool_that_calls_from_elsewhere(
    cli: Cli, url: str, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_there(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr("proxy.cli.snippet.Connection", nothing_there)
    assert ("cannot be reached" in (await cli("snippet", "cursor", "--url", url)).err) is warns


@pytest.mark.parametrize("llm", ["a b", 'a"b', "$(x)", "a\nb"])
async def test_name_that_would_break_out(cli: Cli, llm: str) -> None:
    assert (await cli("snippet", "curl", "--llm", llm)).code == 2
