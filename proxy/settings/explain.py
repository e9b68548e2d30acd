"""A pydantic error → a sentence: what is wrong, what is allowed, never the value of a secret."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from proxy.settings.check import allowed
from proxy.settings.problem import Path, Problem
from proxy.settings.tree import Settings


def problems_of(error: ValidationError) -> list[Problem]:
    details = error.errors(include_url=False)
    # A list counts as too short when what is in it is wrong: that is told already.
    return [
        _problem(detail) for detail in details
        if detail["type"] != "too_short" or not any(_inside(other["loc"], detail["loc"]) for other in details)
    ]


def _inside(path: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(path) > len(outer) and path[:len(outer)] == outer


def _problem(detail: ErrorDetails) -> Problem:
    # A key of a mapping that breaks the pattern has "[key]" after it in its loc.
    path: Path = tuple(step for step in detail["loc"] if step != "[key]")
    field = field_at(path)
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        model = _model_at(path[:-1])
        key = str(path[-1])
        return Problem(path, f"{key!r} is not a setting here; {allowed(key, model.model_fields if model else ())}")
    if kind == "missing":
        return Problem(path, f"is missing{_about(field)}.")
    shown = "" if _secret(field) or isinstance(given, dict | list) else f"{given!r} is not allowed: "
    choices = _choices(field)
    if kind == "literal_error" and choices:
        return Problem(path, f"{given!r} is not allowed; {allowed(str(given), choices)}")
    if kind == "string_pattern_mismatch":
        pattern = detail.get("ctx", {}).get("pattern", "")
        return Problem(path, shown + _PATTERNS.get(pattern, f"it must look like {pattern}") + ".")
    message = detail["msg"]
    return Problem(path, f"{shown}{message[0].lower()}{message[1:]}.")


_PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "a name is 1 to 64 of a-z, 0-9, - and _",
    r"^[!-~]{1,200}$": "a name is 1 to 200 printable characters without spaces",
    r"^https?://[^\s/?#@]+(/[^\s?#]*)?$": "an address is https://host/path, without a user, query or fragment",
}


def field_at(path: Path) -> FieldInfo | None:
    """The declaration behind `("llms", 0, "name")`; None where a path leads into a mapping or to nothing."""
    model: type[BaseModel] | None = Settings
    field: FieldInfo | None = None
    for step in path:
        if model is not None and isinstance(step, str) and step in model.model_fields:
            field = model.model_fields[step]
            model = _inner_model(field.annotation)
        elif field is None:
            return None
    return field


def _model_at(path: Path) -> type[BaseModel] | None:
    if not path:
        return Settings
    field = field_at(path)
    return _inner_model(field.annotation) if field else None


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None


def _choices(field: FieldInfo | None) -> tuple[str, ...]:
    annotation = field.annotation if field else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _secret(field: FieldInfo | None) -> bool:
    if field is None:
        return False
    annotation = field.annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return SecretStr in parts


def _about(field: FieldInfo | None) -> str:
    return f" ({field.description.rstrip('.')})" if field and field.description else ""
