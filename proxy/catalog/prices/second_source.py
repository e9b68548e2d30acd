"""LiteLLM's published prices, as a second opinion on the price book: never charged, only compared.

The file comes out of the wheel of a development extra (`synapscale-gateway[prices]`, installed without its dependencies);
nothing of LiteLLM is imported. Its prices are binary floats in USD per token, so they count to 6 decimals per million.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

PACKAGE = "litellm"
FILE = "litellm/model_prices_and_context_window_backup.json"
# LiteLLM's provider → the book's. Their ids carry it as a prefix, some of them twice, with and without.
PROVIDERS = {
    "openai": "openai", "text-completion-openai": "openai", "anthropic": "anthropic", "gemini": "google",
    "mistral": "mistral", "deepseek": "deepseek", "groq": "groq", "xai": "x-ai", "cohere": "cohere", "cohere_chat": "cohere",
    "fireworks_ai": "fireworks", "fireworks_ai-embedding-models": "fireworks", "together_ai": "together",
    "perplexity": "perplexity", "openrouter": "openrouter",
}  # fmt: skip
# Who else sells models of the book's providers: at prices of their own, under other ids.
RESELLERS = {
    "azure": "Microsoft's contracts", "azure_ai": "Microsoft's contracts", "bedrock": "Amazon's prices by region",
    "bedrock_converse": "Amazon's prices by region", "bedrock_mantle": "Amazon's prices by region",
    "vertex_ai": "Google Cloud's prices by region", "vertex_ai-language-models": "Google Cloud's prices by region",
    "vertex_ai-anthropic_models": "Google Cloud's prices by region", "vertex_ai-mistral_models": "Google Cloud's prices by region",
}  # fmt: skip
_UNITS = {
    "input": "input_cost_per_token", "output": "output_cost_per_token", "cache_read": "cache_read_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}  # fmt: skip
# How long what `cache_creation_input_token_cost` pays for lives.
_CACHE_WRITE = {"openai": "cache_write_30m"}
_SIX_DECIMALS = Decimal(1).scaleb(-6)

ModelId = tuple[str, str]  # provider and model, as the book calls them


class SecondSource(NamedTuple):
    """`prices`: model → unit → USD per million tokens. `skipped`: entries by the reason why they are not compared."""

    name: str  # "litellm 1.109.0"
    prices: Mapping[ModelId, Mapping[str, Decimal]]
    skipped: Mapping[str, int]


class NotInstalled(Exception):
    """Says what to install."""


def installed() -> SecondSource:
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise NotInstalled(f"{PACKAGE} is not installed here") from None
    return read(Path(str(package.locate_file(FILE))), f"{PACKAGE} {package.version}")


def read(file: Path, name: str) -> SecondSource:
    """Raises OSError, and ValueError where the file is not of this kind."""
    entries = json.loads(file.read_text("utf-8"), parse_float=Decimal)
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ValueError(f"{file} is not LiteLLM's file of prices")
    prices: dict[ModelId, dict[str, Decimal]] = {}
    skipped: Counter[str] = Counter()
    # The id with its prefix last: where both are there, it counts.
    for id, entry in sorted(entries.items(), key=lambda item: "/" in item[0]):
        theirs = str(entry.get("litellm_provider"))
        provider = PROVIDERS.get(theirs)
        if provider is None:
            skipped[RESELLERS.get(theirs, "not a provider of the price book")] += 1
            continue
        found = _prices(provider, entry)
        if found:
            prices[provider, id.removeprefix(f"{theirs}/")] = found
        else:
            skipped["no price per token"] += 1
    return SecondSource(name, prices, skipped)


def _prices(provider: str, entry: Mapping[str, object]) -> dict[str, Decimal]:
    fields = _UNITS | {_CACHE_WRITE.get(provider, "cache_write_5m"): "cache_creation_input_token_cost"}
    found: dict[str, Decimal] = {}
    for unit, field in fields.items():
        value = entry.get(field)
        if isinstance(value, Decimal | int) and not isinstance(value, bool):
            found[unit] = (Decimal(value) * 10**6).quantize(_SIX_DECIMALS, rounding=ROUND_HALF_EVEN)
    return found
