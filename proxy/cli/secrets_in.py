"""Secrets come in through a pipe or a prompt that does not echo: a flag would stand in history and process lists."""

from __future__ import annotations

import getpass
import sys

from proxy.cli.fault import USAGE, Fault

MAX_CHARS = 16_384


def read_secret(what: str, *, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.read(MAX_CHARS + 1)
    elif sys.stdin.isatty():
        text = getpass.getpass(f"{what}: ")
    else:
        raise Fault(f"{what} is read from a terminal or a pipe.", next_step="… --stdin < FILE", code=USAGE)
    secret = text.strip()
    if not secret:
        raise Fault(f"{what} is empty.", code=USAGE)
    if len(text) > MAX_CHARS:
        raise Fault(f"{what} is longer than {MAX_CHARS} characters.", code=USAGE)
    return secret


def confirm(question: str, *, yes: bool) -> None:
    """Raises where nobody said yes. Never waits for an answer where there is nobody to give one."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Fault(question, next_step="the same with --yes", code=USAGE)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Fault("Nothing was changed.")
