"""Which reader reads the usage of which surface, at which provider."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.metering.reading import UsageReader
from proxy.providers import usage_sums
from proxy.providers.embeddings_usage import EmbeddingsUsageReader, ModerationsUsageReader
from proxy.providers.images_usage import ImagesUsageReader
from proxy.providers.ocr_usage import OcrUsageReader
from proxy.providers.registry import READERS
from proxy.providers.responses_usage import ResponsesUsageReader
from proxy.providers.transcriptions_usage import TranscriptionsUsageReader

_OPENAI = ResponsesUsageReader(usage_sums.openai)
# By `usage_reader`. xAI's Responses include reasoning where its chat does not, DeepSeek's have OpenAI's names.
_RESPONSES: Mapping[str, UsageReader] = {
    "openrouter": ResponsesUsageReader(usage_sums.openrouter),
    "perplexity": ResponsesUsageReader(usage_sums.perplexity_responses),
}
# Surfaces whose answers mean the same at each provider.
_OF_SURFACE: Mapping[str, UsageReader] = {
    "embeddings": EmbeddingsUsageReader(),
    "moderations": ModerationsUsageReader(),
    "images": ImagesUsageReader(),
    "transcriptions": TranscriptionsUsageReader(),
    "ocr": OcrUsageReader(),
}


def reader_for(surface: str, usage_reader: str) -> UsageReader:
    """`usage_reader`: as a provider names it, one of `READERS`. Legacy completions report as chat does."""
    if surface == "responses":
        return _RESPONSES.get(usage_reader, _OPENAI)
    return _OF_SURFACE.get(surface) or READERS[usage_reader]
