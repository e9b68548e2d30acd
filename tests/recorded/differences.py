"""Every difference between what we and genai-prices make of a recorded answer, with its reason and who is right.

A difference that no rule explains fails the comparison; so does a rule that explains none any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.recorded.cases import CostCase, UsageCase, by_unit

Right: TypeAlias = Literal["we", "they", "either"]


@dataclass(frozen=True)
class UsageRule:
    name: str
    explains: Callable[[UsageCase], bool]
    why: str
    right: Right


@dataclass(frozen=True)
class CostRule:
    name: str
    explains: Callable[[CostCase], bool]
    why: str
    right: Right


USAGE: tuple[UsageRule, ...] = (
    UsageRule(
        "usage under x_groq",
        lambda case: case.they_find_none("prompt_tokens", "completion_tokens", "x_groq", "usage"),
        "Until late 2025 Groq's streams had usage under x_groq only, where genai-prices does not look: free of charge there.",
        "we",
    ),
    UsageRule(
        "no reader for Together",
        lambda case: (
            case.exchange.provider == "together" and case.they_find_none("prompt_tokens", "completion_tokens", "usage")
        ),
        "genai-prices has prices of Together, but no extractor for its answers.",
        "we",
    ),
    UsageRule(
        "a search model's search",
        lambda case: (
            case.only("web_searches")
            and case.differing["web_searches"] == (1, None)
            and case.exchange.dialect == "chat"
            and "-search-" in case.theirs.model
        ),
        'OpenAI\'s chat search models make one billed search per request and report none (pricing page, "Web search").',
        "we",
    ),
    UsageRule(
        "tools of a response",
        lambda case: (
            case.exchange.dialect == "responses"
            and case.tools_at_work == by_unit({name: left for name, (left, _) in case.differing.items()})
            and not any(right for _, right in case.differing.values())
        ),
        "OpenAI takes a fee for what its own tools do: per search, file search, code session and image. genai-prices reads none "
        "of it out of Responses. Ours are the items of the output.",
        "we",
    ),
    UsageRule(
        "no reader for Ollama",
        lambda case: case.exchange.dialect == "ollama" and case.they_find_none("prompt_eval_count", "eval_count"),
        "genai-prices has no entry for models on own machines.",
        "we",
    ),
    UsageRule(
        "Cohere's v1",
        lambda case: case.they_find_none("input_tokens", "output_tokens", "meta", "billed_units"),
        "Before v2 Cohere's answers had billed_units under meta, where genai-prices looks for embeddings only.",
        "we",
    ),
    UsageRule(
        "search units",
        lambda case: (
            not case.theirs.usage
            and case.ours.in_their_terms().keys() == {"rerank_searches"}
            and case.theirs.answer["meta"]["billed_units"]
            == {"search_units": case.ours.in_their_terms()["rerank_searches"]}
        ),
        "Rerank is billed by search units; genai-prices has no extractor for it.",
        "we",
    ),
    UsageRule(
        "images by the piece",
        lambda case: (
            case.exchange.dialect == "images"
            and not case.theirs.usage
            and by_unit(case.ours.in_their_terms()) == {"images": len(case.theirs.answer.get("data", ()))}
        ),
        "DALL·E is billed per image, by size and quality, and reports no usage; genai-prices reads tokens only.",
        "we",
    ),
    UsageRule(
        "no output of embeddings",
        lambda case: (
            case.only("output_tokens")
            and case.exchange.dialect == "embeddings"
            and case.differing["output_tokens"] == (None, 0)
        ),
        "Mistral says completion_tokens: 0 of embeddings. There is nothing that could be any.",
        "either",
    ),
    UsageRule(
        "tools of Groq's Compound",
        lambda case: (
            case.exchange.provider == "groq"
            and case.only("web_searches", "code_sessions")
            and {name: left for name, (left, _) in case.differing.items()} == case.tools_executed
        ),
        "Compound calls models and tools by itself. The tokens, a part per model, add up to the totals on both sides; its tools are "
        "billed, too, and genai-prices does not count them.",
        "we",
    ),
    UsageRule(
        "how long what was written lives",
        lambda case: (
            case.only("cache_write_5m_tokens")
            and case.exchange.dialect in ("anthropic", "converse")
            and case.differing["cache_write_5m_tokens"][0] == case.theirs.usage.get("cache_write_tokens", 0)
        ),
        "Where the split by lifetime is missing, or sums to less than what was written (with hosted searches it says 0 of 10,345), "
        "the rest was written for the lifetime that the request asked for, 5 minutes unless it says more. genai-prices has it in "
        "the total only, and prices it the same.",
        "either",
    ),
    UsageRule(
        "compaction",
        lambda case: case.exchange.dialect == "anthropic" and bool(case.compacted) and case.more == case.compacted,
        "What Anthropic consumes to shorten a conversation is billed, and stands in usage.iterations beside the totals, where "
        "genai-prices does not look.",
        "we",
    ),
    UsageRule(
        "Nova's names",
        lambda case: (
            case.only("cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens")
            and "nova" in case.exchange.url
            and "cacheReadInputTokenCount" in case.theirs.answer["usage"]
        ),
        "Nova through InvokeModel says cacheReadInputTokenCount where Converse says cacheReadInputTokens. Here all are 0.",
        "we",
    ),
    UsageRule(
        "half of a usage",
        lambda case: (
            case.ours.garbled
            and not case.theirs.usage
            and "nova" in case.exchange.url
            and "guardrail" in str(case.theirs.answer)
        ),
        "A guardrail has cut the answer off, and Nova reports inputTokens without outputTokens. Neither takes it for usage: our "
        "row is estimated and says so. InvokeModel's headers had both counts.",
        "either",
    ),
    UsageRule(
        "a document is no image",
        lambda case: (
            case.only("input_image_tokens")
            and case.exchange.dialect == "gemini"
            and '"DOCUMENT"' in json.dumps(case.theirs.answer.get("usageMetadata"), default=str)
        ),
        "Gemini counts a PDF's pages as modality DOCUMENT, which has no price but that of input. genai-prices takes them for images.",
        "we",
    ),
    UsageRule(
        "no candidates",
        lambda case: (
            case.only("output_tokens")
            and case.exchange.dialect == "gemini"
            and case.differing["output_tokens"] == (0, None)
        ),
        "Where Gemini refuses to answer (SAFETY) it leaves candidatesTokenCount out, which means none.",
        "either",
    ),
    UsageRule(
        "grounding with Google Search",
        lambda case: (
            case.only("web_searches")
            and case.exchange.dialect == "gemini"
            and case.differing["web_searches"] == (case.searches_grounded, None)
        ),
        "Billed per grounded answer, since Gemini 3 per query; genai-prices does not read it out of an answer.",
        "we",
    ),
    UsageRule(
        "reasoning beyond output",
        lambda case: (
            case.only("output_reasoning_tokens") and case.ours.usage is not None and case.ours.usage.inconsistent
        ),
        "The provider reports more reasoning than output, which it is part of. We clamp it and flag the row; it changes no "
        "amount, as reasoning is billed inside output.",
        "either",
    ),
)

COST: tuple[CostRule, ...] = (
    CostRule(
        "a tier without a price",
        lambda case: case.unpriced is not None and case.unpriced.startswith("no price for service tier"),
        "The answer names a tier that the source has no price for (gpt-5 priority, gemini-3-flash flex). It takes the standard price in "
        "silence; our row is unpriced until somebody says what the tier costs.",
        "we",
    ),
    CostRule(
        "a counted thing without a price",
        lambda case: case.lacks("code_sessions", "images"),
        "The provider takes a fee for it that the source does not list. genai-prices leaves it out; our row is unpriced, with "
        "the tokens as its lower bound.",
        "we",
    ),
)

# Against what the provider itself says that it took.
STATED: tuple[CostRule, ...] = (
    CostRule(
        "OpenRouter's Claude 3.5 Sonnet",
        lambda case: case.model == "anthropic/claude-3.5-sonnet" and case.theirs_pusd == 2 * case.ours_pusd,
        "Recorded in January 2026 at 6 and 30 USD per million; genai-prices, and so our book, still has Anthropic's 3 and 15.",
        "they",
    ),
    CostRule(
        "OpenRouter's choice of a provider",
        lambda case: case.model == "moonshotai/kimi-k2",
        "OpenRouter charges the price of whom it chose for the answer; the list has one price per model.",
        "they",
    ),
)
