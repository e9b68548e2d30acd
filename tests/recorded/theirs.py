"""What an independent extractor and calculator, genai-prices', find in a recorded answer and make of it.

Nothing of the gateway is imported here, so that no mistake can be made twice: streams are put together as the providers'
own SDKs do it, the figures are genai-prices'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Provider

from tests.recorded.exchanges import Exchange

Json = dict[str, Any]
# Which of a provider's extractors reads this dialect. What is missing here has none: see `find`.
_FLAVORS = {
    ("chat", "mistral"): "default",
    ("chat", "groq"): "default",
    ("chat", ""): "chat",
    ("completions", "mistral"): "default",
    ("completions", ""): "chat",
    ("responses", "openrouter"): "default",
    ("responses", ""): "responses",
    ("embeddings", "mistral"): "default",
    ("embeddings", ""): "embeddings",
    ("anthropic", "aws"): "anthropic",
    ("anthropic", ""): "default",
    ("gemini", ""): "default",
    ("converse", ""): "default",
    ("cohere", ""): "default",
    ("cohere embed", ""): "embeddings",
    ("ollama", ""): "default",
    ("images", ""): "images",
}
# What is left of a total once all else is taken out: of these we have no unit, as the totals and the others say the same.
_RESTS = frozenset(
    ["input_text_tokens", "cache_text_read_tokens", "output_text_tokens", "input_tool_tokens", "input_text_tool_tokens"]
)
# An own server has no entry at genai-prices: it speaks OpenAI's dialect with OpenAI's sums.
_SAME_SUMS = {"local": "openai"}


@dataclass(frozen=True)
class Found:
    """`usage` by genai-prices' names, empty where it finds none, and then `why`. `answer`: what it was read from.

    `names`: what its reader of this dialect looks for; of others it says nothing, not even that there are none.
    """

    usage: dict[str, int]
    answer: Json
    names: frozenset[str] = frozenset()
    why: str = ""

    @property
    def model(self) -> str:
        """As the answer says."""
        return str(self.answer.get("model") or self.answer.get("modelVersion") or "")

    @property
    def served(self) -> dict[str, str]:
        """The context of a price: what the answer says of the tier that was served."""
        inside = self.answer.get("usage")
        tier = self.answer.get("service_tier") or (inside.get("service_tier") if isinstance(inside, dict) else None)
        return {"service_tier": tier} if isinstance(tier, str) else {}

    @property
    def stated(self) -> Decimal | None:
        """What the provider says that it took: OpenRouter only."""
        inside = self.answer.get("usage")
        cost = inside.get("cost") if isinstance(inside, dict) else None
        return Decimal(cost) if isinstance(cost, int | Decimal) else None


def find(exchange: Exchange) -> Found:
    answer = _answer(exchange)
    if not answer:
        return Found({}, {}, why="no answer could be put together")
    provider = _provider(_SAME_SUMS.get(exchange.provider, exchange.provider))
    dialect = exchange.dialect
    if exchange.url.endswith("/embed"):
        dialect = "cohere embed"
    flavor = _FLAVORS.get((dialect, exchange.provider)) or _FLAVORS[dialect, ""]
    if provider is None or not provider.extractors:
        return Found({}, answer, why=f"genai-prices has no reader for {exchange.provider}")
    (reader,) = (one for one in provider.extractors if one.api_flavor == flavor)
    names = frozenset(mapping.dest for mapping in reader.mappings)
    try:
        _, usage = reader.extract(answer)
    except (ValueError, LookupError) as problem:
        return Found({}, answer, names, str(problem))
    return Found({name: int(value) for name, value in vars(usage).items() if name not in _RESTS}, answer, names)


@dataclass(frozen=True)
class Price:
    """`usd` None: this calculator knows no price, or takes the usage for impossible (`why`). `model`: what it took it for."""

    usd: Decimal | None
    model: str = ""
    why: str = ""


def price(usage: dict[str, int], provider: str, model: str, moment: datetime, context: dict[str, str]) -> Price:
    try:
        found = get_snapshot().calc(Usage(**usage), model, provider, None, moment, context)
    except (LookupError, ValueError) as problem:
        return Price(None, why=str(problem))
    return Price(found.total_price, found.model.id)


def _provider(name: str) -> Provider | None:
    return next((provider for provider in get_snapshot().providers if provider.id == name), None)


# -- Answers: a body, or what a client that reads the whole stream has in the end ------------------------------------


def _answer(exchange: Exchange) -> Json:
    if not exchange.is_stream:
        body: Json = _parsed(exchange.body)
        return body
    events = list(_events(exchange))
    match exchange.dialect:
        case "responses":
            return next((event["response"] for event in reversed(events) if _usage_in(event.get("response"))), {})
        case "anthropic":
            return _message(events)
        case "converse":
            # Nova's own events have it one level deeper.
            return _last([event.get("metadata") or event for event in events], "usage")
        case "cohere":
            return next(
                (event.get("delta") or event["response"] for event in reversed(events) if _ends_cohere(event)), {}
            )
        case "ollama":
            return _last(events, "eval_count")
        case "gemini":
            return _last(events, "usageMetadata")
        case _:
            return _last(events, "usage")


def _usage_in(response: object) -> bool:
    return isinstance(response, dict) and bool(response.get("usage"))


def _ends_cohere(event: Json) -> bool:
    return event.get("type") == "message-end" or event.get("event_type") == "stream-end"


def _last(events: list[Json], name: str) -> Json:
    """The last event that says it; else any, so that it is known whose answer it is."""
    return next((event for event in reversed(events) if event.get(name)), events[-1] if events else {})


def _message(events: list[Json]) -> Json:
    """As Anthropic's SDK accumulates (lib/streaming): what a message_delta says replaces what message_start said."""
    message: Json = {}
    for event in events:
        if event.get("type") == "message_start":
            message = dict(event["message"])
        elif event.get("type") == "message_delta" and message:
            said = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            message["usage"] = {**(message.get("usage") or {}), **said}
    return message


def _events(exchange: Exchange) -> Iterator[Json]:
    for data in _datas(exchange):
        value = _parsed(data)
        if isinstance(value, dict) and value:
            yield value


def _datas(exchange: Exchange) -> Iterable[bytes]:
    if exchange.is_frames:
        return exchange.payloads()
    return exchange.body.split(b"\n") if exchange.is_lines else _lines(exchange.body)


def _lines(body: bytes) -> Iterator[bytes]:
    for line in body.split(b"\n"):
        if (line := line.strip()).startswith(b"data:"):
            yield line[5:]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, parse_float=Decimal)
    except ValueError:
        return {}
