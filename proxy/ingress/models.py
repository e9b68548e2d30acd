"""`GET /v1/models` and `/v1/models/{id}`: the llms that a key can use, in OpenAI's list shape."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from proxy.catalog.cache import CatalogCache
from proxy.catalog.route import Llm
from proxy.flow.request import RequestFlow
from proxy.ingress.head import Head
from proxy.wire.refusals import Reason, Refused


def add_models(app: web.Application, flow: RequestFlow, catalog: CatalogCache) -> None:
    async def models(request: web.Request) -> web.Response:
        principal = await flow.authorise(Head(request.raw_headers).token)
        llms = [_model(llm) for llm in catalog.current.llms.values() if flow.can_serve(principal, llm.name)]
        return _json({"object": "list", "data": llms})

    async def model(request: web.Request) -> web.Response:
        principal = await flow.authorise(Head(request.raw_headers).token)
        name = request.match_info["name"]
        llm = catalog.current.find(name)
        if llm is None or not flow.can_serve(principal, name):
            raise Refused(
                Reason.LLM_NOT_FOUND,
                f"The llm `{name[:200]}` does not exist here or this key may not use it. GET /v1/models lists them.",
                param="model",
            )
        return _json(_model(llm))

    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/models/{name:.+}", model)


def _model(llm: Llm) -> dict[str, Any]:
    owner = llm.routes[0].provider.name if llm.routes else "synapscale"
    shape: dict[str, Any] = {"id": llm.name, "object": "model", "created": llm.created_at_s, "owned_by": owner}
    if llm.context_window is not None:
        shape["context_window"] = llm.context_window
    if llm.max_output is not None:
        shape["max_output_tokens"] = llm.max_output
    return shape


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
