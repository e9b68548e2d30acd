"""What `dialect` and `usage_reader` of a provider may name. A new provider with sums of its own is a line here."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.metering.reading import UsageReader
from proxy.providers import usage_sums
from proxy.providers.groq_usage import GroqUsageReader
from proxy.providers.openai import OpenAIDialect
from proxy.providers.openai_usage import OpenAIUsageReader
from proxy.providers.plain_usage import plain_usage

# The in-process dialect `echo` speaks OpenAI's wire but needs no provider: the relay answers it.
DIALECTS: Mapping[str, OpenAIDialect] = {"openai": OpenAIDialect()}

_READERS: dict[str, UsageReader] = {
    "openai": OpenAIUsageReader(usage_sums.openai, plain=plain_usage),
    "azure": OpenAIUsageReader(usage_sums.openai, plain=plain_usage),
    "groq": GroqUsageReader(),
    "deepseek": OpenAIUsageReader(usage_sums.deepseek),
    "openrouter": OpenAIUsageReader(usage_sums.openrouter),
    "mistral": OpenAIUsageReader(usage_sums.mistral),
    "xai": OpenAIUsageReader(usage_sums.xai),
    "gemini_openai": OpenAIUsageReader(usage_sums.gemini_openai),
    "together": OpenAIUsageReader(usage_sums.together),
    "perplexity": OpenAIUsageReader(usage_sums.perplexity),
}
READERS: Mapping[str, UsageReader] = _READERS
