"""What every Python program here shares: cases by name on stdin, one line of JSON per case on stdout.

A program runs in the environment of its client library, where nothing of the gateway is installed. All that it is given
is what anybody has: a base URL, a key, the names of llms, and what to ask.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

given = SimpleNamespace(**json.loads(os.environ["CLIENT_GIVEN"]))
MARK = "@case "
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"21 degrees in {city}"


def joined(pieces: Iterable[str | None]) -> str:
    """The text of a stream, which must have come in pieces."""
    told = [piece for piece in pieces if piece]
    assert len(told) > 1, f"not streamed: {told}"
    return "".join(told)


def serve(cases: dict[str, Callable[[], Any]]) -> None:
    say({"ready": sorted(cases)})
    with asyncio.Runner() as runner, ThreadPoolExecutor(max_workers=1) as pool:
        for line in sys.stdin:
            ended = pool.submit(_run, runner, cases[line.strip()])
            if error := ended.exception():  # whatever a library raises is told, and the next case is tried
                told = "".join(traceback.format_exception(error))
                say({"failed": f"{type(error).__name__}: {error}", "trace": told[-3000:]})
            else:
                say(ended.result())


def _run(runner: asyncio.Runner, case: Callable[[], Any]) -> dict[str, Any]:
    result = case()
    return runner.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def say(result: dict[str, Any]) -> None:
    sys.stdout.write(f"{MARK}{json.dumps(result)}\n")
    sys.stdout.flush()
