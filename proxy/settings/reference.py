"""The tables of docs/configuration.md, made from the settings themselves: `python -m proxy.settings.reference`.

A test compares: a setting that is not documented fails it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.settings.tree import LlmSettings, ProviderSettings, RouteSettings, Settings

BEGIN, END = "<!-- made by proxy.settings.reference -->", "<!-- end -->"


class Entry(NamedTuple):
    """`default` and `what` are for people; `what` holds backticks and bounds."""

    setting: str
    default: str
    what: str


def reference() -> str:
    return "\n\n".join(_section(*section) for section in _sections())


def entries() -> list[Entry]:
    return [
        _entry(prefix, name, model.model_fields[name]) for _, prefix, model, names in _sections() for name in names
    ]


def _sections() -> list[tuple[str, str, type[BaseModel], list[str]]]:
    parts = [name for name, field in Settings.model_fields.items() if _model(field.annotation)]
    top = [name for name in Settings.model_fields if name not in (*parts, *_LISTS)]
    sections: list[tuple[str, str, type[BaseModel], list[str]]] = [("At the top", "", Settings, top)]
    for name in parts:
        model = _model(Settings.model_fields[name].annotation)
        assert model is not None
        sections.append((f"`{name}`", f"{name}.", model, list(model.model_fields)))
    return sections + [
        ("`providers`, by name", "providers.NAME.", ProviderSettings, list(ProviderSettings.model_fields)),
        ("`llms`, a list", "llms[].", LlmSettings, list(LlmSettings.model_fields)),
        ("`llms[].routes`, a list", "llms[].routes[].", RouteSettings, list(RouteSettings.model_fields)),
    ]


_LISTS = ("providers", "llms")


def _section(title: str, prefix: str, model: type[BaseModel], names: list[str]) -> str:
    lines = [f"### {title}", ""]
    if prefix and model.__doc__:
        lines += [model.__doc__.strip(), ""]
    lines += ["| setting | default | |", "|---|---|---|"]
    for name in names:
        entry = _entry(prefix, name, model.model_fields[name])
        default = entry.default if entry.default in _WORDS else f"`{entry.default}`"
        lines.append(f"| `{entry.setting}` | {default} | {entry.what} |")
    return "\n".join(lines)


def _entry(prefix: str, name: str, field: FieldInfo) -> Entry:
    bounds = ", ".join(_bounds(field))
    text = (field.description or "").replace("\n", " ")
    return Entry(f"{prefix}{name}", _default(field), f"{text}{f' ({bounds})' if bounds else ''}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return _NEEDED
    if field.default is PydanticUndefined:
        return _PER_CORE
    value: Any = field.default
    if value is None:
        return _UNSET
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


_WORDS = _NEEDED, _PER_CORE, _UNSET = ("needed", "one per core, at most 4", "unset")


def _bounds(field: FieldInfo) -> Iterator[str]:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        yield "one of " + ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if _is_secret(annotation):
        yield "secret"
    for bound in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if hasattr(bound, name):
                yield f"{sign} {getattr(bound, name)}"
        if hasattr(bound, "min_length"):
            yield "at least one"


def _is_secret(annotation: Any) -> bool:
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return SecretStr in parts


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def replaced(document: str) -> str:
    """The document with its tables made anew."""
    head, rest = document.split(BEGIN, 1)
    return f"{head}{BEGIN}\n\n{reference()}\n\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/configuration.md")
    path.write_text(replaced(path.read_text()))


if __name__ == "__main__":
    main()
