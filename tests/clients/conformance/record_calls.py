"""pytest plugin for openai-python's own suite: which calls each test made, and how it ended, as lines of JSON.

RECORD_TO: the file to write. RUN_ONLY: a file of node ids, one a line; nothing else is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

_calls: list[tuple[str, str, int]] = []


def _note(request: Any, response: Any) -> None:
    _calls.append((request.method, request.url.raw_path.decode().partition("?")[0], response.status_code))


def _watch() -> None:
    send: Callable[..., Any] = httpx2.Client.send
    asend: Callable[..., Any] = httpx2.AsyncClient.send

    def sync(self: Any, request: Any, **options: Any) -> Any:
        response = send(self, request, **options)
        _note(request, response)
        return response

    async def asynchronous(self: Any, request: Any, **options: Any) -> Any:
        response = await asend(self, request, **options)
        _note(request, response)
        return response

    httpx2.Client.send, httpx2.AsyncClient.send = sync, asynchronous  # type: ignore[method-assign]


_watch()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if path := os.environ.get("RUN_ONLY"):
        wanted = set(Path(path).read_text().splitlines())
        items[:] = [item for item in items if item.nodeid in wanted]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    _calls.clear()
    try:
        yield
    finally:
        item.user_properties.append(("calls", list(_calls)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the controller only: workers of xdist hand their reports over."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    calls = dict(report.user_properties).get("calls", [])
    reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
    told = {"test": report.nodeid, "outcome": report.outcome, "calls": calls, "reason": str(reason)[:600]}
    with Path(os.environ["RECORD_TO"]).open("a") as file:
        file.write(json.dumps(told) + "\n")
