"""The recorded exchanges with real providers, read in place from WIRE_DIR (default: ../shared/wire beside the project).

Absent, tests that need them skip with a reason; with CI=true they fail.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
WIRE_DIR = Path(os.environ.get("WIRE_DIR") or _ROOT.parent / "shared" / "wire")

# OpenAI-shaped chat: streams, bodies, errors.
CHAT = (1, 2, 3, 4, 6, 7, 8, 11, 12, 17, 18, 19, 20, 21, 22, 23, 27, 28, 29, 30, 31, 32, 33, 34, 49, 50)
_READERS = {
    "openai.com": "openai",
    "azure.com": "azure",
    "groq.com": "groq",
    "openrouter.ai": "openrouter",
    "deepseek.com": "deepseek",
    "mistral.ai": "mistral",
    "z.ai": "openai",
}
_OF_NUMBER = {17: "azure", 30: "openrouter", 31: "openrouter", 32: "openrouter"}


@dataclass(frozen=True)
class Recording:
    """One exchange. `body` is the answer's; `request` the request's, parsed, where it was recorded."""

    number: int
    index: int
    url: str
    status: int
    headers: dict[str, str]
    body: bytes
    request: dict[str, object] | None

    @property
    def name(self) -> str:
        return f"{self.number:02}-{self.index}"

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def usage_reader(self) -> str:
        """The name of the reader for the provider that answered."""
        if self.number in _OF_NUMBER:
            return _OF_NUMBER[self.number]
        return next((name for host, name in _READERS.items() if host in self.url), "openai")


def available() -> bool:
    return WIRE_DIR.is_dir()


def missing_reason() -> str:
    return f"no recordings at {WIRE_DIR}: set WIRE_DIR"


def load(*numbers: int) -> Iterator[Recording]:
    for number in numbers:
        (path,) = WIRE_DIR.glob(f"{number:02}-*.json")
        for index, exchange in enumerate(json.loads(path.read_text())["exchanges"]):
            yield _recording(number, index, exchange)


def _recording(number: int, index: int, exchange: dict[str, object]) -> Recording:
    request, response = exchange.get("request") or {}, exchange["response"]
    body = response.get("body") or {}
    raw = base64.b64decode(body["base64"]) if "base64" in body else body.get("text", "").encode()
    asked = (request.get("body") or {}).get("text")
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return Recording(
        number, index, request.get("url", ""), response["status"], headers, raw, json.loads(asked) if asked else None
    )


def params(*numbers: int, only: str = "") -> list[object]:
    """For `pytest.mark.parametrize("recording", …)`. `only`: "stream" | "body"."""
    if not available():
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(missing_reason())
        return [pytest.param(None, marks=pytest.mark.skip(reason=missing_reason()))]
    chosen = [r for r in load(*numbers) if not only or r.is_stream == (only == "stream")]
    return [pytest.param(recording, id=recording.name) for recording in chosen]


def cuts(body: bytes, how: str) -> list[bytes]:
    """The body in pieces: "bytes", "events" or "whole"."""
    if how == "bytes":
        return [body[i : i + 1] for i in range(len(body))]
    if how == "events":
        return [event + b"\n\n" for event in body.split(b"\n\n")[:-1]] + [body.split(b"\n\n")[-1]]
    return [body]
