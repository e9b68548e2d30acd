"""`synapscale run`: a program that talks to this gateway without knowing it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.client import Connection, refused, virtual_key_needed
from proxy.cli.fault import FAILED, Fault
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, Url
from proxy.cli.where import Gateway, gateway, virtual_key


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to start, with its arguments.")],
    url: Url = None, ca_file: CaFile = None, data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Start a program whose OpenAI SDK calls this gateway: `synapscale run -- python app.py`.

    Sets OPENAI_BASE_URL, OPENAI_API_BASE, OPENAI_API_KEY, SYNAPSCALE_API_KEY and SYNAPSCALE_URL (without /v1) for it,
    and NODE_EXTRA_CA_CERTS where there is a certificate of one's own. The key is SYNAPSCALE_API_KEY, else
    <data-dir>/first-key; it is tried first.
    """
    place, key = gateway(url, ca_file, data_dir), virtual_key(data_dir)
    _try(place, key, data_dir)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, {**os.environ, **environment(place, key)})
    except OSError as error:
        raise Fault(f"{command[0]}: {error.strerror}.", code=FAILED) from None


def environment(place: Gateway, key: str) -> dict[str, str]:
    base = f"{place.base}/v1"
    found = {
        "OPENAI_BASE_URL": base, "OPENAI_API_BASE": base, "OPENAI_API_KEY": key, "SYNAPSCALE_API_KEY": key,
        "SYNAPSCALE_URL": place.base,
    }  # fmt: skip
    if place.ca_file is not None:
        # Node adds these to its own. For other programs it would be instead of theirs: SSL_CERT_FILE is left alone.
        found["NODE_EXTRA_CA_CERTS"] = str(place.ca_file.absolute())
    return found


def _try(place: Gateway, key: str, data_dir: Path) -> None:
    """A wrong key is told now, and not by the program in its own words."""
    connection = Connection(place, key)
    try:
        answer = connection.send("GET", "/api/v1/me")
        if answer.status != 200:
            raise refused(answer, answer.read(), sign_in=virtual_key_needed(data_dir))
    finally:
        connection.close()
