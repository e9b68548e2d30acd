"""An llm at a provider: what the relay needs to reach it and the meter needs to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from pricing.price import PriceVersion

StreamUsage = Literal["asked", "unasked"]
TierWord = Literal["served", "requested"]


@dataclass(frozen=True, slots=True)
class Provider:
    """`stream_usage`: whether usage in a stream must be asked for (stream_options) or comes by itself."""

    id: UUID
    name: str
    dialect: str  # "openai" | "echo" (providers/ has a file per dialect)
    base_url: str
    stream_usage: StreamUsage = "asked"
    usage_reader: str = "openai"  # which sums this provider's usage fields follow (providers/openai.py)
    tier_word: TierWord = "served"  # which service tier is priced: the one that answers name, or the one asked for


@dataclass(frozen=True, slots=True)
class Route:
    """One llm at one provider. `prices` newest first; the one in force at a moment is chosen by pricing."""

    id: UUID
    provider: Provider
    upstream_model: str
    prices: tuple[PriceVersion, ...]


@dataclass(frozen=True, slots=True)
class Llm:
    id: UUID
    name: str
    context_window: int | None
    max_output: int | None
    routes: tuple[Route, ...]
    created_at_s: int
    unpriced: Literal["allow", "reject"] = "allow"  # while no price is in force
