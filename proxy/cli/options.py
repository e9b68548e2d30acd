"""Options that many commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

NAME = "synapscale"
Url = Annotated[
    str | None, typer.Option("--url", envvar="SYNAPSCALE_URL", help="Gateway to ask. Default: the one on this machine.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", readable=False, help="File with a management key. Default: SYNAPSCALE_KEY, <data-dir>/admin-key."),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", envvar="SYNAPSCALE_CA_FILE", readable=False,
        help="PEM certificate to trust besides the system's, such as one that you signed yourself.",
    ),
]
DataDir = Annotated[
    Path,
    # Not readable: fine where address and key are given; where they are not, that is what is told.
    typer.Option(
        "--data-dir", envvar="SYNAPSCALE_DATA_DIR", readable=False,
        help="Folder of the gateway's data on this machine.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; money is exact decimal text.")]
Config = Annotated[Path | None, typer.Option("--config", help="Configuration file. Default: config.yaml here.")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Name or id. Default: the only one.")]
Workspaces = Annotated[
    str | None, typer.Option("--workspace", "-w", help="Name or id. Default: all that the management key sees.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")]
Expires = Annotated[str | None, typer.Option("--expires", help="90d, 2026-12-31 or a moment.")]
NeverExpires = Annotated[bool, typer.Option("--never-expires", help="Take its end away.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

DEFAULT_DATA_DIR = Path(".synapscale")


def data_option(data_dir: Path) -> str:
    """What a command that is printed to be typed needs behind it: ` --data-dir DIR`, or nothing."""
    if data_dir.absolute() == DEFAULT_DATA_DIR.absolute():
        return ""
    return f" --data-dir {shlex.quote(str(data_dir))}"
