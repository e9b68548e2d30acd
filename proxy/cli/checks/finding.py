"""One line of `synapscale doctor`."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warn", "bad"]
MARKS: dict[State, str] = {"ok": "✓", "warn": "!", "bad": "✗"}


class Finding(NamedTuple):
    """`fix` says what to do; there is one wherever the state is not ok."""

    state: State
    check: str
    found: str
    fix: str | None = None


def ok(check: str, found: str) -> Finding:
    return Finding("ok", check, found)


def warn(check: str, found: str, fix: str) -> Finding:
    return Finding("warn", check, found, fix)


def bad(check: str, found: str, fix: str) -> Finding:
    return Finding("bad", check, found, fix)
