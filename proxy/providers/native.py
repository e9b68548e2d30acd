"""Readers of wires that are not OpenAI's. Choosing one goes by the wire's name; their requests go out elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.metering.reading import NativeReader
from proxy.providers.anthropic_usage import AnthropicUsageReader
from proxy.providers.cohere_usage import CohereUsageReader
from proxy.providers.converse_usage import ConverseUsageReader
from proxy.providers.gemini_usage import GeminiUsageReader
from proxy.providers.ollama_usage import OllamaUsageReader

NATIVE: Mapping[str, NativeReader] = {
    "anthropic": AnthropicUsageReader(),
    "gemini": GeminiUsageReader(),
    "converse": ConverseUsageReader(),
    "cohere": CohereUsageReader(),
    "ollama": OllamaUsageReader(),
}
