"""`<data-dir>/running.json`: the note by which commands find the `serve` of this machine. It may outlive its writer."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.storage.embedded.folder import is_running

# Its address, its certificate, and the addresses of its embedded stores (which hold no password).
RUNNING_FILE = "running.json"
LOCK_FILE = "lock"  # storage/embedded/folder.py holds it, with the holder's number inside


def running(data_dir: Path) -> dict[str, str]:
    """`url`, `pid`, `tls_cert_file`, and `database_url`, `redis_url` of embedded stores. Empty where nothing runs here:
    of a `serve` that was killed the note stays, but not the lock."""
    note = _read(data_dir / RUNNING_FILE)
    return note if note and _holder(data_dir / LOCK_FILE) == note.get("pid") else {}


def leave_note(data_dir: Path, note: Mapping[str, str | int]) -> None:
    """Whole or not at all, over whatever is there: also over a note that another account left."""
    draft = data_dir / f".{RUNNING_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(note), "utf-8")
    draft.replace(data_dir / RUNNING_FILE)


def take_note_away(data_dir: Path) -> None:
    """Only ours: another `serve` may run on this folder, or have begun since its lock was given back."""
    path = data_dir / RUNNING_FILE
    if (_read(path) or {}).get("pid") == str(os.getpid()):
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, str] | None:
    try:
        found: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None


def _holder(lock: Path) -> str | None:
    """The process that holds the lock. After its death its Valkey may hold it for a moment more: that is nobody."""
    try:
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read(20).decode("ascii", "replace").strip()
                return holder if holder.isdigit() and is_running(int(holder)) else None
    except OSError:
        return None
    return None
