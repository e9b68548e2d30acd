"""The settings in force, one by one, each with where it came from; a secret is only said to be set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from proxy.settings.load import load, origin_of, read_file
from proxy.settings.problem import Path, dotted
from proxy.settings.yaml_file import YamlFile

DEFAULT = "default"


class Shown(NamedTuple):
    """`value` None: unset. `source`: `config.yaml:12`, a variable of the environment, or `default`."""

    setting: str
    value: str | None
    source: str
    secret: bool


def shown(config: FilePath | None = None) -> list[Shown]:
    """In the order of the reference. Raises ConfigError as `load` does."""
    settings, file = load(config), read_file(config)
    return [_one(path, value, file) for path, value in _leaves((), settings)]


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves((*path, name), getattr(value, name))
    elif isinstance(value, Mapping) and path[-1] != "price":
        for name, each in value.items():
            yield from _leaves((*path, name), each)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _leaves((*path, index), each)
    else:
        yield path, value


def _one(path: Path, value: Any, file: YamlFile) -> Shown:
    secret = isinstance(value, SecretStr)
    text = "set, not shown" if secret else _text(value)
    return Shown(dotted(path), text, _source(path, file), secret)


def _source(path: Path, file: YamlFile) -> str:
    if (variable := origin_of(path, {})) is not None:
        return variable
    if path not in file.lines:
        return DEFAULT
    place = f"{file.name}:{file.lines[path]}"
    if path in file.unset:
        return f"{place}: ${{{file.unset[path]}}}, not set"
    return f"{place}: ${{{file.asked[path]}}}" if path in file.asked else place


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
