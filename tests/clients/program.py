"""Runs a client's program and asks it for one case after another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

MARK = b"@case "
START_S = 120
CASE_S = 60
_OURS = ("OPENAI_", "SYNAPSCALE_", "PYTHON")


class ProgramEnded(Exception):
    """It ended or fell silent; the text is what it said last."""


class Program:
    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        self._process = process
        self._said = said
        self.cases: frozenset[str] = frozenset()

    async def begin(self) -> None:
        self.cases = frozenset((await self._line(START_S))["ready"])

    async def run(self, case: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(case.encode() + b"\n")
        return await self._line(CASE_S)

    async def _line(self, timeout_s: float) -> dict[str, Any]:
        """The next result: what libraries write to stdout is passed over."""
        assert self._process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while line := await self._process.stdout.readline():
                    if line.startswith(MARK):
                        result: dict[str, Any] = json.loads(line.removeprefix(MARK))
                        return result
        raise ProgramEnded(self._said.read_text(errors="replace")[-2000:] or f"nothing within {timeout_s} s")


@contextlib.asynccontextmanager
async def running(
    command: list[str], given: Mapping[str, str], said: Path, *, extra: Mapping[str, str]
) -> AsyncIterator[Program]:
    """`given`: base URL, key, llms and questions. `said`: a file for its stderr. Nothing else of ours is in its environment."""
    ours = {name: value for name, value in os.environ.items() if "API_KEY" not in name and not name.startswith(_OURS)}
    env = {**ours, **extra, "CLIENT_GIVEN": json.dumps(given), "NO_COLOR": "1"}
    pipe = asyncio.subprocess.PIPE
    with said.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=err, env=env, limit=1 << 20, start_new_session=True
        )
    try:
        yield Program(process, said)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # with what it started: node is a script that starts node
            await process.wait()
