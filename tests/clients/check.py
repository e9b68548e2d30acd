"""One client, case by case: what its library gave the application, and the row that every call left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import expected, program
from tests.clients.books import differences
from tests.clients.matrix import Client
from tests.clients.provider import Provider
from tests.clients.surfaces import SURFACES

ROWS_S = 15


@dataclass(frozen=True, slots=True)
class Result:
    """`problem`: None: as it must be; empty: the case's surface is not served yet."""

    case: str
    problem: str | None


# The usage rows of a virtual key, oldest first; None where no gateway is between (--direct).
Rows = Callable[[], Awaitable[list[dict[str, Any]]]] | None


def given(base_url: str, key: str) -> dict[str, str]:
    return {
        "base_url": base_url, "key": key, "llm": expected.LLM, "embedding_llm": expected.EMBEDDING_LLM,
        "moderation_llm": expected.MODERATION_LLM, "question": expected.QUESTION, "weather_question": expected.WEATHER_QUESTION,
    }  # fmt: skip


async def check(
    client: Client, base_url: str, key: str, provider: Provider, rows: Rows, folder: Path, extra: Mapping[str, str]
) -> list[Result]:
    """Every case that the program offers. `extra`: environment variables for it."""
    results: list[Result] = []
    said = folder / f"{client.name.replace(' ', '-')}.err"
    try:
        async with program.running(client.command(), given(base_url, key), said, extra=extra) as started:
            await started.begin()
            for case in (name for name in expected.CASES if name in started.cases):
                if rows is not None and not SURFACES[case.partition(".")[0]].served:
                    results.append(Result(case, ""))
                    continue
                results.append(Result(case, await _one(started, case, provider, rows)))
            unknown = started.cases - expected.CASES.keys()
            assert not unknown, f"cases without an expectation: {unknown}"
    except program.ProgramEnded as ended:
        results.append(Result("start", str(ended)))
    return results


async def _one(started: program.Program, case: str, provider: Provider, rows: Rows) -> str | None:
    wanted, calls = expected.CASES[case]
    before = [] if rows is None else await rows()
    begins = len(provider.books)
    result = await started.run(case)
    billed = provider.books[begins:]
    problems: list[str] = []
    if "failed" in result:
        problems.append(f"{result['failed']}\n{result['trace']}")
    elif result != wanted:
        problems.append(f"the application got {result}, not {wanted}")
    if len(billed) != calls:
        problems.append(f"{len(billed)} calls reached the provider, not {calls}")
    about = expected.SENT.get(case)
    if billed and about is not None and not about(provider.sent):
        problems.append("the library did not send what this case is about")
    if rows is not None:
        new = await _until(rows, len(before) + len(billed))
        problems += _compare(new[len(before) :], billed)
    return "; ".join(problems) or None


def _compare(rows: list[dict[str, Any]], billed: list[Any]) -> list[str]:
    if len(rows) != len(billed):
        return [f"{len(rows)} rows for {len(billed)} calls"]
    pairs = enumerate(zip(billed, rows, strict=True), start=1)
    return [f"row {number}: {difference}" for number, (one, row) in pairs for difference in differences(one, row)]


async def _until(rows: Callable[[], Awaitable[list[dict[str, Any]]]], count: int) -> list[dict[str, Any]]:
    """All rows, as soon as there are `count`, or after a while."""
    end = time.monotonic() + ROWS_S
    while True:
        found = await rows()
        if len(found) >= count or time.monotonic() > end:
            return found
        await asyncio.sleep(0.05)
