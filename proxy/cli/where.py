"""Which gateway, with which key: options, environment, then what `serve` left in the data folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from proxy.cli.fault import NOT_SIGNED_IN, USAGE, Fault
from proxy.cli.options import data_option
from proxy.cli.running import RUNNING_FILE, running

DEFAULT_URL = "http://127.0.0.1:4000"
ADMIN_KEY_FILE = "admin-key"
FIRST_KEY_FILE = "first-key"


# What a start leaves in its data folder, also one that failed half-way; and what file systems put into each.
OURS = frozenset({
    ADMIN_KEY_FILE, FIRST_KEY_FILE, RUNNING_FILE, "lock", "master-key", "metrics", "spool", "stores",
})  # fmt: skip
NOBODYS = frozenset({"lost+found", ".DS_Store"})


class Gateway(NamedTuple):
    """`base`: without a slash at its end. `ca_file` (PEM): whom to believe besides the system's authorities."""

    base: str
    ca_file: Path | None = None


def foreign(data_dir: Path) -> str | None:
    """A name in a folder that is no data folder; None where it is one, is empty, or cannot be looked into."""
    try:
        names = {path.name for path in data_dir.iterdir()} - NOBODYS
    except OSError:
        return None  # whoever uses it says why
    return None if names & OURS else min(names, default=None)


def unreadable(data_dir: Path) -> bool:
    """There, and closed to this account: what runs on it cannot be told."""
    try:
        (data_dir / RUNNING_FILE).open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def gateway(url: str | None, ca_file: Path | None, data_dir: Path) -> Gateway:
    """The certificate of a `serve` on this machine is believed because of where it lies; another needs `--ca-file`."""
    here = running(data_dir) if url is None else {}
    if ca_file is None and here.get("tls_cert_file"):
        ca_file = Path(here["tls_cert_file"])
    return Gateway(base_url(url or here.get("url")), ca_file)


def base_url(url: str | None) -> str:
    """Without a slash at the end; a base URL of a client (…/v1) is accepted too."""
    text = (url or DEFAULT_URL).rstrip("/").removesuffix("/v1").rstrip("/")
    if not text.startswith(("http://", "https://")):
        raise Fault(f"{text!r} is no address.", next_step="--url http://127.0.0.1:4000", code=USAGE)
    return text


def management_key(key_file: Path | None, data_dir: Path) -> str:
    if key_file is not None:
        key = _content(key_file)
        if not key:
            raise Fault(f"No key could be read from {key_file}.", code=NOT_SIGNED_IN)
        return _usable(key)
    key = os.environ.get("SYNAPSCALE_KEY", "").strip() or _content(data_dir / ADMIN_KEY_FILE)
    if not key:
        raise Fault(
            f"Not signed in: SYNAPSCALE_KEY is not set and there is no readable {data_dir / ADMIN_KEY_FILE}.",
            next_step=(
                "export SYNAPSCALE_KEY=sk-adm-…, or name the folder of the running gateway with --data-dir. Is no key left: "
                "start serve once with SYNAPSCALE_ADMIN_KEY=sk-adm-… set to a new one"
            ),
            code=NOT_SIGNED_IN,
        )
    return _usable(key)


def virtual_key(data_dir: Path) -> str:
    """For clients. On a terminal the first key was shown once and stored nowhere: then it must be set."""
    key = os.environ.get("SYNAPSCALE_API_KEY", "").strip() or _content(data_dir / FIRST_KEY_FILE)
    if not key:
        raise Fault(
            "No virtual key: SYNAPSCALE_API_KEY is not set.",
            next_step=f"export SYNAPSCALE_API_KEY=$(synapscale keys create cli{data_option(data_dir)})",
            code=NOT_SIGNED_IN,
        )
    return _usable(key)


def _usable(key: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise Fault("The key holds characters that no key has. Was more copied than the key?", code=NOT_SIGNED_IN)
    return key


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
