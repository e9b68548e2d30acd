"""YAML text → plain data that remembers its lines.

`${NAME}` in a text stands for an environment variable. Where it is the whole text and the variable is not set (or is
empty, as compose files pass it), the value is None: a provider without `api_key` simply has no global key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from proxy.settings.problem import ConfigError, Path, dotted

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_NODES = 100_000  # an alias bomb ends here


@dataclass(slots=True)
class YamlFile:
    """`lines`: 1-based, by path. `unset`: the variable that a path asked for and that is not there; `asked`: is there."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    unset: dict[Path, str] = field(default_factory=dict)
    asked: dict[Path, str] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """The line of the setting, else of the nearest setting around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read(text: str, *, name: str, environ: Mapping[str, str]) -> YamlFile:
    """Raises ConfigError where the text is no YAML mapping or names a key twice (YAML itself would take the last)."""
    file = YamlFile(name)
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return file
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError([f"{name}:1: the file must hold settings as `key: value`, see docs/configuration.md."])
        file.data = _Reader(loader, file, environ).mapping(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError([f"{name}:{line}: this is not YAML: {error.problem or error.context}."]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}: this is not YAML: {error}."]) from None
    finally:
        loader.dispose()
    return file


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, file: YamlFile, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._file = file
        self._environ = environ
        self._nodes = 0

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._loader.flatten_mapping(node)  # `<<: *anchor`
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError([f"{self._file.name}:{line}: a key must be a plain word."])
            key = str(key_node.value)
            here = (*path, key)
            if key in out:
                first = self._file.lines[here]
                place = f"{self._file.name}:{line}"
                raise ConfigError([f"{place}: {dotted(here)} stands here twice (first in line {first})."])
            self._file.lines[here] = line
            out[key] = self._value(value_node, here)
        return out

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise ConfigError([f"{self._file.name}: the file holds more than {_MAX_NODES} values."])
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            out = []
            for index, item in enumerate(node.value):
                self._file.lines[(*path, index)] = item.start_mark.line + 1
                out.append(self._value(item, (*path, index)))
            return out
        value = self._loader.construct_object(node)
        return self._expand(value, path) if isinstance(value, str) else value

    def _expand(self, text: str, path: Path) -> str | None:
        whole = VARIABLE.fullmatch(text)
        if whole:
            value = self._environ.get(whole[1], "").strip()
            (self._file.asked if value else self._file.unset)[path] = whole[1]
            return value or None
        for found in VARIABLE.finditer(text):
            if not self._environ.get(found[1]):
                place = f"{self._file.name}:{self._file.line(path)}"
                raise ConfigError([f"{place}: {dotted(path)}: the environment variable {found[1]} is not set."])
        return VARIABLE.sub(lambda found: self._environ[found[1]], text)
