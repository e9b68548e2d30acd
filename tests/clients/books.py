"""The gateway's usage rows against the provider's own books: every token and every pico-USD, computed without the gateway's code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.clients.expected import EMBEDDING_LLM, LLM, MODERATION_LLM
from tests.clients.provider import Billed
from tests.clients.surfaces import SURFACES

# USD per million tokens: every class has a price of its own, so that a wrong class shows in the sum.
PRICES = {
    LLM: {"input": "0.15", "cache_read": "0.075", "output": "0.60"},
    EMBEDDING_LLM: {"input": "0.02"},
    MODERATION_LLM: {"input": "0"},
}
_MILLION = 1_000_000
_LLM_OF = {"embeddings": EMBEDDING_LLM, "moderations": MODERATION_LLM}


def cost_usd(billed: Billed) -> Decimal:
    price = {unit: Decimal(text) for unit, text in PRICES[_LLM_OF.get(billed.surface, LLM)].items()}
    plain = (billed.input - billed.cached) * price["input"]
    return (plain + billed.cached * price.get("cache_read", 0) + billed.output * price.get("output", 0)) / _MILLION


def differences(billed: Billed, row: Mapping[str, Any]) -> list[str]:
    """What the row says otherwise than the provider; empty where it is right."""
    wanted: dict[str, Any] = {
        "surface": SURFACES[billed.surface].row, "stream": billed.stream, "outcome": "ok", "pricing": "priced",
        "cached_tokens": billed.cached, "output_tokens": billed.output, "llm": _LLM_OF.get(billed.surface, LLM),
    }  # fmt: skip
    if billed.surface != "moderations":  # its answers report nothing: free, so the count is of no consequence
        wanted |= {"input_tokens": billed.input, "usage_source": "provider"}
    if billed.output:
        wanted["reasoning_tokens"] = billed.reasoning
    found = [f"{name} is {row[name]!r}, not {value!r}" for name, value in wanted.items() if row[name] != value]
    cost = cost_usd(billed)
    for name in ("list_cost_usd", "charge_usd"):
        if row[name] is None or Decimal(row[name]) != cost:
            found.append(f"{name} is {row[name]}, not {cost}")
    if not billed.reported and billed.surface != "moderations":
        found.append("the provider was not asked for its usage")
    return found
