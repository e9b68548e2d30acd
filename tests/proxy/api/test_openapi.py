from __future__ import annotations

import re

from aiohttp import web

from proxy.api.routes import PREFIX
from proxy.api.table import ENDPOINTS
from tests.management import Deployment
from tests.proxy.api.conftest import DOCUMENT, Api, application
from tests.proxy.api.json_schema import follow


async def test_it_is_served_and_needs_no_key(api: Api) -> None:
    async with api.client.get(f"{PREFIX}/openapi.json") as response:
        assert response.status == 200
        assert await response.json() == DOCUMENT


def test_it_describes_every_route_and_no_other(deployment: Deployment) -> None:
    app = application(deployment)
    routed = {
        (route.method.lower(), resource.canonical)
        for resource in app.router.resources()
        if isinstance(resource, web.Resource)
        for route in resource
    }
    described = {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert routed - {("get", f"{PREFIX}/openapi.json")} == described
    assert len(described) == len(ENDPOINTS)


def test_every_reference_leads_somewhere() -> None:
    refs = re.findall(r"'\$ref': '([^']+)'", str(DOCUMENT))
    assert len(refs) > 50
    for ref in refs:
        follow(ref, DOCUMENT)


def test_operations_have_ids_of_their_own() -> None:
    ids = [operation["operationId"] for operations in DOCUMENT["paths"].values() for operation in operations.values()]
    assert len(set(ids)) == len(ids)


def test_requests_and_answers_are_closed() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if schema["type"] == "object":
            assert schema["additionalProperties"] is False, name


def test_no_answer_has_a_field_for_a_secret_but_those_that_show_it_once() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        secret = {"key", "value", "hash", "sealed", "secret", "token"} & set(schema.get("properties", {}))
        if secret:
            assert name in {
                "NewVirtualKeyObject", "NewManagementKeyObject", "NewVirtualKey", "NewVariable", "VariableChange", "Me",
            }, name  # fmt: skip
    assert DOCUMENT["components"]["schemas"]["Me"]["properties"]["key"]["$ref"].endswith("/VirtualKeyObject")


def test_who_may_call_is_said() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            assert operation["security"] == [{"virtualKey" if path.endswith("/me") else "managementKey": []}]
