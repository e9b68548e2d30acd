"""`synapscale completion`: names of commands and options with the Tab key."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

VARIABLE = "_SYNAPSCALE_COMPLETE"  # set by the script below when it asks what fits


class Shell(Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a script that completes commands: `source <(synapscale completion bash)`."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    print(get_completion_script(prog_name="synapscale", complete_var=VARIABLE, shell=shell.value))


def answer_shells() -> None:
    """Typer's own completion options would do this; to read them it imports pydantic, for every help text too."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()
