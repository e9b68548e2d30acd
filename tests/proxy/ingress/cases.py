"""What a provider says on each surface beside chat, whole and streamed, and what of it a row must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from tests.gateway import PRICE, PROVIDER_KEY, RunningGateway

TOKENS = {
    "prompt_tokens": 20,
    "completion_tokens": 5,
    "total_tokens": 25,
    "prompt_tokens_details": {"cached_tokens": 8},
}
RESPONSE_USAGE = {
    "input_tokens": 20, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 25,
}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
           "content": [{"type": "output_text", "text": "Paris.", "annotations": []}]}  # fmt: skip
RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "upstream-model", "error": None,
    "output": [MESSAGE], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": RESPONSE_USAGE,
}  # fmt: skip
BEGUN = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
DONE = b"data: [DONE]\n\n"


def event(number: int, kind: str, **more: Any) -> bytes:
    """Of a Responses stream."""
    return b"event: %b\ndata: %b\n\n" % (
        kind.encode(),
        orjson.dumps({"type": kind, "sequence_number": number, **more}),
    )


def text_chunk(text: str, *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    """Of a completions stream."""
    choices = [{"text": text, "index": index, "logprobs": None, "finish_reason": finish}]
    return b"data: " + orjson.dumps({"id": "cmpl-1", "object": "text_completion", "choices": choices, **more}) + b"\n\n"


def delta(number: int, text: str) -> bytes:
    return event(
        number, "response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=text, logprobs=[]
    )


USAGE_CHUNK = (
    b"data: " + orjson.dumps({"id": "cmpl-1", "object": "text_completion", "choices": [], "usage": TOKENS}) + b"\n\n"
)


@dataclass(frozen=True)
class Case:
    """`stream`: its events; the last one says that all is over. `row`: input, cached, output tokens; `cost_usd` at PRICE."""

    surface: str
    ask: dict[str, Any]
    answer: dict[str, Any]
    row: tuple[int, int, int]
    cost_usd: str
    stream: tuple[bytes, ...] = ()

    @property
    def body(self) -> bytes:
        return orjson.dumps(self.answer)

    def without_usage(self) -> bytes:
        return orjson.dumps({name: value for name, value in self.answer.items() if name != "usage"})


_VECTORS = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
_RESULTS = [{"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.001}}]
_COST = "0.0000054"  # 12 × 0.15 + 8 × 0.075 + 5 × 0.60 USD per million

RESPONSES = Case(
    "responses", {"input": "Capital of France?"}, RESPONSE, (20, 8, 5), _COST,
    (
        event(0, "response.created", response=BEGUN), event(1, "response.in_progress", response=BEGUN), delta(2, "Pa"),
        delta(3, "ris."), event(4, "response.output_item.done", output_index=0, item=MESSAGE),
        event(5, "response.completed", response=RESPONSE),
    ),
)  # fmt: skip
COMPLETIONS = Case(
    "completions", {"prompt": "The capital of France is"},
    {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "upstream-model",
     "choices": [{"text": " Paris.", "index": 0, "logprobs": None, "finish_reason": "stop"}], "usage": TOKENS},
    (20, 8, 5), _COST,
    (text_chunk(" Pa"), text_chunk("ris."), text_chunk("", finish="stop"), DONE),
)  # fmt: skip
EMBEDDINGS = Case(
    "embeddings", {"input": "Paris"},
    {"object": "list", "data": _VECTORS, "model": "upstream-model", "usage": {"prompt_tokens": 20, "total_tokens": 20}},
    (20, 0, 0), "0.000003",
)  # fmt: skip
MODERATIONS = Case(
    "moderations",
    {"input": "Paris"},
    {"id": "modr-1", "model": "upstream-model", "results": _RESULTS},
    (0, 0, 0),
    "0.00",
)
EVERY = {case.surface: case for case in (RESPONSES, COMPLETIONS, EMBEDDINGS, MODERATIONS)}
STREAMED = {"responses": RESPONSES, "completions": COMPLETIONS}

# A key that is refused by a provider that repeats it, and says whose it is.
REFUSAL = orjson.dumps({
    "error": {"message": f"Incorrect API key provided: {PROVIDER_KEY}. Org org-A1b2C3d4E5f6.", "type": "invalid_request_error",
              "param": None, "code": "invalid_api_key"}
})  # fmt: skip


def served(base_url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`scripted-llm` as everywhere; the llm that moderations name by default; one at a provider that has few surfaces."""
    providers = {
        "scripted": {"dialect": "openai", "base_url": base_url, "api_key": PROVIDER_KEY},
        "narrow": {"dialect": "openai", "base_url": "https://api.mistral.ai/v1", "api_key": PROVIDER_KEY},
    }
    llms = [
        {"name": name, "routes": [{"provider": provider, "model": "upstream-model"}], "context_window": 128000, "max_output": 16384,
         "price": PRICE}
        for name, provider in (("scripted-llm", "scripted"), ("omni-moderation-latest", "scripted"), ("narrow-llm", "narrow"))
    ]  # fmt: skip
    return providers, llms


async def ask(gateway: RunningGateway, surface: str, body: dict[str, Any], **headers: str) -> aiohttp.ClientResponse:
    """The answer's head."""
    return await gateway.session.post(
        f"{gateway.url}/v1/{surface}",
        json={"model": "scripted-llm", **body},
        headers={"Authorization": f"Bearer {gateway.key}", **headers},
    )


async def own_key(gateway: RunningGateway, value: str) -> None:
    (workspace,) = (await gateway.api("workspaces"))["data"]
    variable = {"workspace_id": workspace["id"], "scope": "workspace", "provider": "scripted", "value": value}
    await gateway.api("user-variables", method="POST", json=variable, status=201)


def counted(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["input_tokens"], row["cached_tokens"], row["output_tokens"]
