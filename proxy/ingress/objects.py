"""What lies at a provider, by its path: stored responses. Not metered; whose it is decides the flow."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal
from urllib.parse import urlencode

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from proxy.flow.objects import ObjectFlow, ObjectRequest
from proxy.flow.request import RequestFlow
from proxy.ingress.head import Head
from proxy.ingress.surface import Load
from proxy.objects.kinds import is_id
from proxy.objects.owner import not_found
from proxy.objects.paths import object_path
from proxy.objects.references import Reference
from proxy.wire.refusals import Reason, Refused

Method = Literal["GET", "POST", "DELETE"]
RESPONSE = "responses/{response}"
INPUT_ITEMS = "responses/{response}/input_items"
CANCEL = "responses/{response}/cancel"

_FLAG = re.compile(r"true|false")
_FIELD = re.compile(r"[A-Za-z0-9_.]{1,100}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_ORDER = re.compile(r"asc|desc")
_ANY = re.compile(r"(?s).*")
_FIELDS_MOST = 50
# What the provider is told of a query (OpenAPI document of OpenAI), and how it looks. SDKs write arrays with brackets.
# `beta` is sent by openai-python's `beta.responses`.
_QUERIES: Mapping[tuple[Method, str], Mapping[str, re.Pattern[str]]] = {
    ("GET", RESPONSE): {
        "beta": _FLAG, "include": _FIELD, "include[]": _FIELD, "include_obfuscation": _FLAG, "starting_after": _NUMBER, "stream": _FLAG,
    },
    ("GET", INPUT_ITEMS): {
        "beta": _FLAG, "include": _FIELD, "include[]": _FIELD, "limit": _NUMBER, "order": _ORDER, "after": _ANY,
    },
    ("POST", CANCEL): {"beta": _FLAG},
    ("DELETE", RESPONSE): {"beta": _FLAG},
}  # fmt: skip
# Below a path of ours, and no ids.
_NOT_OFFERED = {
    "/v1/responses/input_tokens": "POST /v1/responses/input_tokens is not offered by this version: it would reach a provider unmetered.",
    "/v1/responses/compact": "POST /v1/responses/compact is not offered by this version: what it uses would not be metered. "
    "Send `context_management` with POST /v1/responses, or shorten the input yourself.",
}  # fmt: skip


def add_objects(app: web.Application, flow: RequestFlow, load: Load, max_in_flight: int) -> None:
    objects = ObjectFlow(flow)

    def handler(method: Method, template: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            load.in_flight += 1
            try:
                if load.in_flight > max_in_flight:
                    raise _overloaded()
                return await _answered(flow, objects, request, method, template)
            finally:
                load.in_flight -= 1

        return handle

    for method, template in _QUERIES:
        app.router.add_route(method, f"/v1/{template}", handler(method, template))
    for path in _NOT_OFFERED:
        app.router.add_post(path, _not_offered)


async def _answered(
    flow: RequestFlow, objects: ObjectFlow, request: web.Request, method: Method, template: str
) -> web.Response:
    head = Head(request.raw_headers)
    principal = await flow.authorise(head.token)
    path = object_path(template.replace("{response}", request.match_info["response"]))
    if path is None or path.template != template:  # a slash was hidden in the id
        raise not_found(Reference("response", "", "response_id"))
    query, beside = _query(request.query, _QUERIES[method, template])
    answer = await objects.call(principal, ObjectRequest(method, path, query, beside, head.forward))
    headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers)
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _query(query: MultiMapping[str], known: Mapping[str, re.Pattern[str]]) -> tuple[str, list[Reference]]:
    """What is sent on of a query, written anew, and what it names. Raises `Refused` (400)."""
    beside: list[Reference] = []
    sent: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, value in query.items():
        looks = known.get(name)
        if looks is None:
            raise _bad(name, f"Unknown query parameter `{name[:100]}`. This path takes: {_names(known)}.")
        if name in seen and not name.startswith("include") or len(sent) >= _FIELDS_MOST:
            raise _bad(name, f"The query parameter `{name}` is given too often.")
        if looks.fullmatch(value) is None:
            raise _bad(name, f"The query parameter `{name}` has a value that it cannot have.")
        seen.add(name)
        if name == "stream":
            if value == "true":
                raise _bad(
                    name, "A stored response is not streamed by this gateway: only one with `background` could be, and "
                    "those are not offered. Ask for it without `stream`."
                )  # fmt: skip
            continue
        if name == "after":
            # A mark in a list that is the caller's: it need not be known here, but must not be another's.
            reference = Reference("item", value, name, inline=True)
            if not is_id(value):
                raise not_found(reference)
            beside.append(reference)
        sent.append((name, value))
    return urlencode(sent), beside


def _names(known: Mapping[str, re.Pattern[str]]) -> str:
    return ", ".join(name for name in known if not name.endswith("[]")) or "none"


def _bad(name: str, message: str) -> Refused:
    return Refused(Reason.BAD_VALUE, message, param=name[:100])


def _overloaded() -> Refused:
    return Refused(
        Reason.OVERLOADED, "Too many requests are in flight on this gateway. Retry shortly.", retry_after_s=1
    )


async def _not_offered(request: web.Request) -> web.StreamResponse:
    raise Refused(Reason.PATH_UNKNOWN, _NOT_OFFERED[request.path])
