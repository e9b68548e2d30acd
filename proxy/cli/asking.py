"""Commands that ask the management API: the options that say which gateway, and with which key, are the same for all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from proxy.cli.client import Api
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, KeyFile, Url
from proxy.cli.where import gateway, management_key

P = ParamSpec("P")


def asking(command: Callable[Concatenate[Api, P], None]) -> Callable[..., None]:
    """The command gets the `Api` as its first argument, and Typer sees the options that it is made from."""

    @functools.wraps(command)
    def run(
        *, url: str | None, key_file: Path | None, ca_file: Path | None, data_dir: Path, **given: Any
    ) -> None:
        place = gateway(url, ca_file, data_dir)
        given_command: Callable[..., None] = command
        given_command(Api(place, management_key(key_file, data_dir)), **given)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in (
            ("url", Url, None), ("key_file", KeyFile, None), ("ca_file", CaFile, None),
            ("data_dir", DataDir, DEFAULT_DATA_DIR),
        )
    ]
    parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *shared]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
