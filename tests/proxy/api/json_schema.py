"""As much of JSON Schema as the OpenAPI document uses; any other word in it is an error, so nothing goes unchecked."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
NOTES = frozenset(["title", "description", "default", "writeOnly"])
FORMATS: dict[str, Callable[[str], object]] = {"date-time": datetime.fromisoformat, "date": date.fromisoformat}


def problems(value: Any, schema: Any, document: Any, where: str = "$") -> list[str]:
    if "$ref" in schema:
        return problems(value, follow(schema["$ref"], document), document, where)
    found: list[str] = []
    for word, rule in schema.items():
        match word:
            case "type":
                allowed = [rule] if isinstance(rule, str) else rule
                if not any(TYPES[name](value) for name in allowed):
                    return [f"{where}: {value!r} is no {rule}"]
            case "anyOf":
                if all(problems(value, option, document, where) for option in rule):
                    found.append(f"{where}: {value!r} fits none of {rule}")
            case "const" if value != rule:
                found.append(f"{where}: {value!r} is not {rule!r}")
            case "enum" if value not in rule:
                found.append(f"{where}: {value!r} is not one of {rule}")
            case "pattern" if isinstance(value, str) and not re.search(rule, value):
                found.append(f"{where}: {value!r} does not match {rule}")
            case "format" if isinstance(value, str):
                FORMATS[rule](value)
            case "items" if isinstance(value, list):
                for index, item in enumerate(value):
                    found += problems(item, rule, document, f"{where}[{index}]")
            case "properties" if isinstance(value, dict):
                for name, part in rule.items():
                    if name in value:
                        found += problems(value[name], part, document, f"{where}.{name}")
            case "required" if isinstance(value, dict):
                found += [f"{where}: {name} is missing" for name in rule if name not in value]
            case "additionalProperties" if rule is False and isinstance(value, dict):
                found += [f"{where}: {name} is unknown" for name in value if name not in schema.get("properties", {})]
            case "additionalProperties" if rule is True or not isinstance(value, dict):
                pass
            case _ if word not in NOTES | {"const", "enum", "pattern", "format", "items", "properties", "required"}:
                raise AssertionError(f"a word of JSON Schema that this checker does not know: {word}")
    return found


def follow(ref: str, document: Any) -> Any:
    found = document
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found
