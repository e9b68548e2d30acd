"""Where settings come from: command line, over environment, over `config.yaml`, over defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from proxy.settings import check
from proxy.settings.explain import problems_of
from proxy.settings.problem import ConfigError, Path, Problem, dotted
from proxy.settings.tree import Settings
from proxy.settings.yaml_file import VARIABLE, YamlFile, read

PREFIX = "SYNAPSCALE_"
DEFAULT_FILE = FilePath("config.yaml")
# Names that people already have in their environments, beside SYNAPSCALE_STORES__….
USUAL_NAMES: dict[str, Path] = {
    "DATABASE_URL": ("stores", "database_url"),
    "REDIS_URL": ("stores", "redis_url"),
    "SYNAPSCALE_DATA_DIR": ("stores", "data_dir"),
}
_MAX_FILE_BYTES = 4 * 1024 * 1024


def load(config: FilePath | None = None, overrides: Mapping[Path, Any] | None = None) -> Settings:
    """The settings of this process. `overrides` are the options of the command line, by path.

    Raises ConfigError with every problem that was found, each with its place.
    """
    file = read_file(config)
    given = {path: value for path, value in (overrides or {}).items() if value is not None}
    found = [*_unknown_variables(os.environ)]
    settings = None
    try:
        settings = _build(file, given)
    except ValidationError as error:
        found += problems_of(error)
    except SettingsError as error:
        raise ConfigError([f"{error}: lists and mappings in the environment are JSON."]) from None
    if settings is not None:
        found += check.problems(settings)
    if found or settings is None:
        raise ConfigError([_sentence(problem, file, given) for problem in found])
    return settings


def read_file(config: FilePath | None) -> YamlFile:
    path = config or DEFAULT_FILE
    try:
        with path.open("rb") as handle:
            content = handle.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([
            f"{path} is not there (looked in {FilePath.cwd()}). Start where it lies or name it with --config FILE. "
            "An empty file is allowed: then only synapscale/echo serves."
        ]) from None
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}. Check the path and its permissions."]) from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError([f"{path} is larger than {_MAX_FILE_BYTES} bytes."])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not UTF-8 (byte {error.start})."]) from None
    return read(text, name=str(path), environ=os.environ)


def variables_of(config: FilePath | None = None) -> frozenset[str]:
    """The environment variables that the file asks for, so that a child can be given them and no others."""
    path = config or DEFAULT_FILE
    try:
        return frozenset(VARIABLE.findall(path.read_text("utf-8")))
    except FileNotFoundError:
        return frozenset()


def key_variables(config: FilePath | None = None) -> dict[str, str]:
    """By provider: the variable that would be its global key and is not set. The file has been loaded already."""
    unset = read_file(config).unset
    return {str(path[1]): name for path, name in unset.items() if path[0] == "providers" and path[2:] == ("api_key",)}


def _build(file: YamlFile, given: Mapping[Path, Any]) -> Settings:
    usual = {path: os.environ[name] for name, path in USUAL_NAMES.items() if os.environ.get(name)}
    tree, usual_tree = _nested(given), _nested(usual)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, _Given(settings_cls, usual_tree), _Given(settings_cls, _written(file))

    return Sourced(**tree)


def _written(file: YamlFile) -> dict[str, Any]:
    """Without sections that hold nothing: `llms:`, where all below it was taken out, is an empty list."""
    sections = {
        name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel | dict | tuple)
    }
    return {
        name: value for name, value in file.data.items()
        if value is not None or name not in sections or (name,) in file.unset
    }


class _Given(PydanticBaseSettingsSource):
    """A source whose values are already here."""

    def __init__(self, settings_cls: type[BaseSettings], data: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._data = data

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._data.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._data


def _nested(flat: Mapping[Path, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path, value in flat.items():
        level = out
        for step in path[:-1]:
            level = level.setdefault(str(step), {})
        level[str(path[-1])] = value
    return out


def _unknown_variables(environ: Mapping[str, str]) -> Iterable[Problem]:
    """`SYNAPSCALE_SREVER__PORT`: a name with `__` can only be meant for us. (`SYNAPSCALE_PORT` and its like are set by
    Kubernetes for a service of that name.)"""
    for name in sorted(environ):
        head, separator, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and separator and head.lower() not in Settings.model_fields:
            hint = check.allowed(head.lower(), Settings.model_fields)
            yield Problem((), f"{name}: {head.lower()!r} is not a setting; {hint}")


def _sentence(problem: Problem, file: YamlFile, given: Mapping[Path, Any]) -> str:
    """`config.yaml:14: server.port: …`, or the variable or option in place of the file where it came from there."""
    path, text = problem
    if not path:
        return text
    unset = file.unset.get(path)
    origin = origin_of(path, given)
    if origin is None and unset:
        text = f"needs the environment variable {unset}, which is not set."
    if origin is None:
        line = file.line(path)
        origin = f"{file.name}:{line}" if line else file.name
    return f"{origin}: {dotted(path)}: {text}"


def origin_of(path: Path, given: Mapping[Path, Any]) -> str | None:
    """The option or the variable of the environment that a value came from; None: the file, or nowhere."""
    for length in range(len(path), 0, -1):
        part = path[:length]
        if part in given:
            return "--" + str(part[-1]).replace("_", "-")
        variable = PREFIX + "__".join(map(str, part)).upper()
        for name in os.environ:
            if name.upper() == variable and os.environ[name]:
                return name
        for name, usual in USUAL_NAMES.items():
            if usual == part and os.environ.get(name):
                return name
    return None
