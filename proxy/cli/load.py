"""Options of the command line → settings; a configuration that is wrong leaves as a Fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.cli.fault import USAGE, Fault

if TYPE_CHECKING:
    from proxy.settings.tree import Settings

Overrides = Mapping[tuple[str | int, ...], Any]


def load_settings(config: Path | None, overrides: Overrides | None = None) -> Settings:
    from proxy.settings.load import load
    from proxy.settings.problem import ConfigError

    try:
        return load(config, overrides)
    except ConfigError as error:
        raise config_fault(error.lines) from None


def config_fault(lines: list[str]) -> Fault:
    return Fault("\n       ".join(lines), code=USAGE)


def as_environment(overrides: Overrides) -> dict[str, str]:
    """The same options for processes that are started with this configuration."""
    return {
        "SYNAPSCALE_" + "__".join(map(str, path)).upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for path, value in overrides.items() if value is not None
    }


def database_fault(error: BaseException) -> Fault:
    return Fault(
        f"Postgres cannot be used: {str(error) or type(error).__name__}.",
        next_step="a DATABASE_URL whose server runs and lets this machine in; without one, serve runs its own",
    )
