"""The OpenAPI 3.1 document, made from the table of endpoints and the models that check and render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from proxy.api.endpoint import Endpoint, NoBody, Read, Stream, Write
from proxy.api.schema import Part

_REF = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "description": "What is wrong and what to do."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field or parameter at fault."},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_KEYS = {
    "managementKey": {"type": "http", "scheme": "bearer", "description": "A management key, `sk-adm-…`."},
    "virtualKey": {"type": "http", "scheme": "bearer", "description": "A virtual key, `sk-syn-…`."},
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A call repeated with the same key within 24 hours is made once and answered the same.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def document(endpoints: Sequence[Endpoint], prefix: str) -> dict[str, Any]:
    wanted: list[tuple[type[Part], JsonSchemaMode]] = []
    for endpoint in endpoints:
        if not isinstance(endpoint, Stream):
            wanted.append((endpoint.answer, "serialization"))
        if isinstance(endpoint, Write) and endpoint.body is not NoBody:
            wanted.append((endpoint.body, "validation"))
    refs, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(prefix + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SynapScale Gateway: management",
            "version": "1",
            "description": "Workspaces, people, keys, usage, bills. Money is exact decimal text in USD, times are UTC.",
        },
        "paths": paths,
        "components": {
            "schemas": _without_null_defaults(definitions.get("$defs", {})) | {"Error": _ERROR},
            "securitySchemes": _KEYS,
        },
    }


def _without_null_defaults(schemas: dict[str, Any]) -> dict[str, Any]:
    """A field that may be left out has no default that a client could send: null is not "left out"."""
    for schema in schemas.values():
        for part in schema.get("properties", {}).values():
            if part.get("default", ...) is None:
                del part["default"]
    return schemas


def _operation(endpoint: Endpoint, refs: Mapping[Any, Any]) -> dict[str, Any]:
    is_holder = isinstance(endpoint, Read) and endpoint.caller == "holder"
    status = endpoint.status if isinstance(endpoint, Write) else 200
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.resource],
        "security": [{"virtualKey" if is_holder else "managementKey": []}],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            str(status): {"description": "Done.", **_answer(endpoint, refs)},
            "default": {"description": "Refused.", **_json({"$ref": _REF.format(model="Error")})},
        },
    }
    if isinstance(endpoint, Write):
        operation["parameters"].append(_IDEMPOTENCY)
        if endpoint.body is not NoBody:
            operation["requestBody"] = {"required": True, **_json(refs[endpoint.body, "validation"])}
    return operation


def _answer(endpoint: Endpoint, refs: Mapping[Any, Any]) -> dict[str, Any]:
    if isinstance(endpoint, Stream):
        return {"content": {each: {"schema": {"type": "string", "format": "binary"}} for each in endpoint.media_types}}
    return _json(refs[endpoint.answer, "serialization"])


def _operation_id(endpoint: Endpoint) -> str:
    words = [word for word in endpoint.path.replace("-", "_").split("/") if word and "{" not in word]
    one = endpoint.path.endswith("}")
    return "_".join([endpoint.method.lower(), *words, *(["one"] if one else [])])


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"},
        }
        for name, prefix in endpoint.ids.items()
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _unquoted(part)}
        for name, part in schema.get("properties", {}).items()
    ]


def _unquoted(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent or has a value: null is neither."""
    if "anyOf" not in schema:
        return schema
    kind: dict[str, Any]
    (kind,) = (part for part in schema["anyOf"] if part != {"type": "null"})
    return {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | kind


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
