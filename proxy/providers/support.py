"""Which surfaces each provider has, so that a request is not sent where it can only fail.

By host, not by name or reader: names are the operator's, and a reader says how usage is counted. A host that is not listed
(own servers, new providers) may have any surface: it says itself what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

SURFACES = ("chat", "responses", "completions", "embeddings", "moderations")
_EVERY = frozenset(SURFACES)

# Host, also as the end of one → surfaces on its OpenAI-shaped base. Source: the API reference of each (November 2026).
_OF_HOST: Mapping[str, frozenset[str]] = {
    "api.openai.com": _EVERY,
    # Azure OpenAI REST reference, v1: filtering happens inside answers, there is no endpoint for it.
    "openai.azure.com": frozenset(["chat", "responses", "completions", "embeddings"]),
    "services.ai.azure.com": frozenset(["chat", "responses", "completions", "embeddings"]),
    "api.anthropic.com": frozenset(["chat"]),  # "OpenAI SDK compatibility"
    # "OpenAI compatibility" of the Gemini API: chat, embeddings, media; Responses are a request in its forum.
    "generativelanguage.googleapis.com": frozenset(["chat", "embeddings"]),
    # mistralai 3.7: fill-in-the-middle is /fim/completions, with a shape of its own.
    "api.mistral.ai": frozenset(["chat", "embeddings", "moderations"]),
    "api.groq.com": frozenset(["chat", "responses"]),  # console.groq.com/docs/openai
    # Completions lie under /beta, another base.
    "api.deepseek.com": frozenset(["chat", "responses"]),
    "api.x.ai": frozenset(["chat", "responses"]),
    "openrouter.ai": frozenset(["chat", "responses", "completions", "embeddings"]),  # openrouter 1.3
    "api.together.ai": frozenset(["chat", "completions", "embeddings"]),  # together 3.1
    "api.together.xyz": frozenset(["chat", "completions", "embeddings"]),
    "api.fireworks.ai": frozenset(["chat", "responses", "completions", "embeddings"]),  # fireworks-ai 1.2
    "api.perplexity.ai": frozenset(["chat", "responses", "embeddings"]),  # perplexityai 0.46
    "api.cohere.com": frozenset(["chat", "embeddings"]),  # "Compatibility API"
    "api.cohere.ai": frozenset(["chat", "embeddings"]),
}


def surfaces_of(base_url: str) -> frozenset[str]:
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    while host:
        if (found := _OF_HOST.get(host)) is not None:
            return found
        _, _, host = host.partition(".")
    return _EVERY
