"""Which reader reads the usage of which surface, at which provider."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.metering.reading import UsageReader
from proxy.providers import usage_sums
from proxy.providers.embeddings_usage import EmbeddingsUsageReader, ModerationsUsageReader
from proxy.providers.registry import READERS
from proxy.providers.responses_usage import ResponsesUsageReader

_OPENAI = ResponsesUsageReader(usage_sums.openai)
# By `usage_reader`. xAI's Responses include reasoning where its chat does not, DeepSeek's have OpenAI's names.
_RESPONSES: Mapping[str, UsageReader] = {"openrouter": ResponsesUsageReader(usage_sums.openrouter)}
_EMBEDDINGS = EmbeddingsUsageReader()
_MODERATIONS = ModerationsUsageReader()


def reader_for(surface: str, usage_reader: str) -> UsageReader:
    """`usage_reader`: as a provider names it, one of `READERS`. Legacy completions report as chat does."""
    match surface:
        case "responses":
            return _RESPONSES.get(usage_reader, _OPENAI)
        case "embeddings":
            return _EMBEDDINGS
        case "moderations":
            return _MODERATIONS
        case _:
            return READERS[usage_reader]
