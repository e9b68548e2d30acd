"""Functions and answer schemas as OpenAI's models read them: TypeScript in a namespace, not the JSON that was sent.

Source: OpenAI, "harmony response format", sections "Function calling" and "Structured output"; that the closed models
get the same text is inferred: it counts right on the recordings (docs/estimation.md). Pure; never raises on any JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_MAX_DEPTH = 24  # deeper schemas are cut off: no provider accepts them
_MAX_PARTS, _MAX_CHARS = 20_000, 4 * 1024 * 1024  # bound a schema whose references fan out
_TYPES = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def functions_text(functions: Iterable[Mapping[str, Any]], namespace: str = "functions") -> str:
    """`functions`: objects with name, description, parameters (a JSON schema)."""
    writer = _Writer()
    lines = [f"namespace {namespace} {{", ""]
    for function in functions:
        lines += writer.function(function)
    return "\n".join([*lines, f"}} // namespace {namespace}"])


def response_format_text(description: object, schema: object) -> str:
    """The schema as JSON, under its description where that is not the schema's own."""
    own = schema.get("description") if isinstance(schema, dict) else None
    if isinstance(description, str) and description and description != own:
        return f"// {description}\n{compact(schema)}"
    return compact(schema)


def compact(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return ""


class _Writer:
    """One rendering: its bound is shared by all functions."""

    def __init__(self) -> None:
        self._parts = self._chars = 0

    def function(self, function: Mapping[str, Any]) -> list[str]:
        name, parameters = function.get("name"), function.get("parameters")
        lines = _comment(function.get("description"))
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        if isinstance(parameters, dict) and isinstance(properties, dict) and properties:
            lines += [f"type {name} = (_: {{", *self._properties(parameters, parameters, 0), "}) => any;"]
        else:
            lines.append(f"type {name} = () => any;")
        return [*lines, ""]

    def _properties(self, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[str]:
        properties, listed = schema.get("properties"), schema.get("required")
        required = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else ()
        self._chars += len(required)
        lines: list[str] = []
        for name, value in properties.items() if isinstance(properties, dict) else ():
            value = value if isinstance(value, dict) else {}
            target = _target(value["$ref"], root) if isinstance(value.get("$ref"), str) else value
            described = value.get("description") or (target.get("description") if isinstance(target, dict) else None)
            if self._chars > _MAX_CHARS:
                break
            comment = _comment(described)
            self._chars += sum(map(len, comment)) + len(name)
            lines += comment
            optional = "" if name in required else "?"
            default = f" // default: {_plain(value['default'])}" if value.get("default") is not None else ""
            lines.append(f"{name}{optional}: {self._type(value, root, depth + 1)},{default}")
        return lines

    def _type(self, schema: object, root: Mapping[str, Any], depth: int) -> str:
        self._parts += 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._parts > _MAX_PARTS or self._chars > _MAX_CHARS:
            return "any"
        if isinstance(schema.get("$ref"), str):
            return self._type(_target(schema["$ref"], root), root, depth + 1)
        if isinstance(schema.get("enum"), list):
            return self._spent(" | ".join(compact(item) for item in schema["enum"]))
        if "const" in schema:
            return self._spent(compact(schema["const"]))
        for union in ("anyOf", "oneOf"):
            if isinstance(schema.get(union), list):
                return " | ".join(self._type(one, root, depth + 1) for one in schema[union])
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(self._of_kind(one, schema, root, depth + 1) for one in kind)
        return self._of_kind(kind, schema, root, depth)

    def _of_kind(self, kind: object, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
        self._parts += 1
        if kind == "array":
            return f"{self._type(schema.get('items'), root, depth + 1)}[]"
        if kind == "object" or (kind is None and "properties" in schema):
            if not schema.get("properties") or self._parts > _MAX_PARTS:
                return "object"
            return "\n".join(["{", *self._properties(schema, root, depth), "}"])
        return _TYPES.get(kind, "any") if isinstance(kind, str) else "any"

    def _spent(self, text: str) -> str:
        self._chars += len(text)
        return text


def _comment(description: object) -> list[str]:
    if not isinstance(description, str) or not description:
        return []
    return [f"// {line}" for line in description.split("\n")]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else compact(value)


def _target(reference: str, root: Mapping[str, Any]) -> object:
    """Of a reference inside the same schema (`#/$defs/Name`)."""
    found: object = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    return found
