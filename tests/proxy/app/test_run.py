"""What SIGINT means, the first time and after."""

from __future__ import annotations

import asyncio
import os

import pytest

from proxy.app.run import interrupted


def test_stop_then_hurry_then_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    stop, hurry = asyncio.Event(), asyncio.Event()
    interrupted(stop, hurry)
    assert (stop.is_set(), hurry.is_set(), ended) == (True, False, [])
    interrupted(stop, hurry)
    assert (hurry.is_set(), ended) == (True, [])
    interrupted(stop, hurry)
    assert ended == [1]
