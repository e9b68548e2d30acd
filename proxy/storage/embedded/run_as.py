"""Under which account the servers run, and how they are started under it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from proxy.storage.embedded.leash import leash
from proxy.storage.embedded.problem import StoreProblem

# Postgres refuses to run as root. No account is created and no folder opened: we take one that every system has.
ORDINARY_ACCOUNTS = ("postgres", "nobody")
PROBE_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int


def account_for(existing: Iterable[Path]) -> Account | None:
    """None: the servers run as we do. As root: the account that owns the first of `existing`, else an ordinary one."""
    if os.geteuid() != 0:
        return None
    for path in existing:
        if path.exists() and (owner := path.stat()).st_uid != 0:
            return Account(f"uid {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ORDINARY_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise StoreProblem(
        "Postgres does not run as root and this system has neither an account `postgres` nor `nobody`.\n"
        "Start synapscale as an ordinary user, or set DATABASE_URL and REDIS_URL."
    )


def identity(account: Account | None) -> dict[str, Any]:
    """Arguments of `Popen`. The group too: with the user alone a server would keep root's group."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """All that a server gets of ours: no secret, no provider key."""
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}


def run(
    argv: list[str], *, account: Account | None, pass_fds: tuple[int, ...] = (), feed: str = "", timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a short command as that account. OSError if it cannot be executed."""
    return subprocess.run(
        argv,
        input=feed,
        text=True,
        capture_output=True,
        timeout=timeout_s,
        cwd="/",
        env=environment(),
        pass_fds=pass_fds,
        start_new_session=True,
        check=False,
        **identity(account),
    )


def spawn(
    argv: list[str],
    *,
    account: Account | None,
    pass_fds: tuple[int, ...],
    log: IO[bytes],
    last_signal: signal.Signals,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own: Ctrl-C in a terminal reaches us, not it."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=environment(),
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=leash(last_signal),  # safe: the parent has one thread
        **identity(account),
    )


def version_as(program: Path, account: Account | None) -> str | None:
    """What `program --version` prints when that account runs it; None if the account cannot reach or execute it."""
    try:
        done = run([str(program), "--version"], account=account, timeout_s=PROBE_TIMEOUT_S)
    except (PermissionError, FileNotFoundError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
