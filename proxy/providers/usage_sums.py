"""Equal names, different sums: what `usage` of an OpenAI-shaped chat answer means at each provider.

Each function gets a usage object and gives disjoint units, or None where the totals cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from pricing.usage import Usage
from proxy.providers.counts import MAX_COUNT, Counts, child, input_units, output_units, usage_of

Sums = Callable[[dict[str, object]], Usage | None]


def openai(usage: dict[str, object]) -> Usage | None:
    """prompt includes cached, written, audio and image; completion includes reasoning and rejected predictions."""
    return _all_inside(usage, write_unit="cache_write_30m")


def openrouter(usage: dict[str, object]) -> Usage | None:
    """As OpenAI, video inside the prompt. Written caches are mostly Anthropic's, which live 5 minutes."""
    found = _all_inside(usage, write_unit="cache_write_5m")
    if found is not None:
        for name in ("server_tool_use_details", "server_tool_use"):
            searches = Counts(usage).of(child(usage, name), "web_search_requests")
            if searches is not None:
                found.units["web_searches"] = searches
                break
    return found


def _all_inside(usage: dict[str, object], *, write_unit: str, cached: int | None = None) -> Usage | None:
    counts = Counts(usage)
    totals = counts.totals()
    if totals is None:
        return None
    prompt, completion = totals
    counts.must_equal(counts.get("total_tokens"), prompt + completion)
    if cached is None:
        cached = counts.prompt("cached_tokens")
    units = input_units(
        counts, prompt=prompt, cached=cached, writes=_writes(counts, usage, write_unit),
        audio=counts.prompt("audio_tokens"), image=counts.prompt("image_tokens"),
    )
    units |= output_units(
        counts, completion=completion, audio=counts.completion("audio_tokens"),
        image=counts.completion("image_tokens"),
    )
    return usage_of(counts, units, reasoning=counts.completion("reasoning_tokens"))


def _writes(counts: Counts, usage: dict[str, object], unit: str) -> dict[str, int | None]:
    """By lifetime where it is given (OpenAI's Responses split 30 min and 12 h), the rest to `unit`."""
    total = counts.prompt("cache_write_tokens")
    split = child(child(usage, "prompt_tokens_details"), "cache_write_tokens_details")
    if not split:
        return {unit: total}
    long, short = counts.of(split, "ttl_12h_tokens"), counts.of(split, "ttl_30m_tokens")
    if long is None:
        return {unit: total if total is not None else short}
    return {"cache_write_12h": long, unit: short if total is None else counts.at_most(total, total - long)}


def deepseek(usage: dict[str, object]) -> Usage | None:
    """prompt = hit + miss, under its own names; newer answers repeat the hit as cached_tokens (recording 33)."""
    counts = Counts(usage)
    hit, miss = counts.get("prompt_cache_hit_tokens"), counts.get("prompt_cache_miss_tokens")
    cached = counts.prompt("cached_tokens")
    if hit is not None:
        counts.must_equal(cached, hit)
        if miss is not None:
            counts.must_equal(counts.get("prompt_tokens"), hit + miss)
    found = _all_inside(usage, write_unit="cache_write_5m", cached=hit if hit is not None else cached)
    if found is not None and counts.inconsistent:
        found.inconsistent = True
    return found


def together(usage: dict[str, object]) -> Usage | None:
    """cached_tokens stands at the top level."""
    return _all_inside(usage, write_unit="cache_write_5m", cached=Counts(usage).get("cached_tokens"))


def mistral(usage: dict[str, object]) -> Usage | None:
    """Audio is outside the prompt: 9 + 375 audio + 248 completion = 632. Audio is billed by the second."""
    counts = Counts(usage)
    totals = counts.totals()
    if totals is None:
        return None
    prompt, completion = totals
    total = counts.get("total_tokens")
    audio = counts.prompt("audio_tokens")
    if audio is None and total is not None and total > prompt + completion:
        audio = total - prompt - completion
    counts.must_equal(total, prompt + (audio or 0) + completion)
    cached = counts.prompt("cached_tokens")
    if cached is None:
        cached = counts.get("num_cached_tokens")  # older answers
    units = input_units(counts, prompt=prompt, cached=cached, writes={})
    if audio is not None:
        units["input_audio"] = audio
    seconds = usage.get("prompt_audio_seconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < MAX_COUNT // 1000:
        units["audio_ms"] = int(Decimal(str(seconds)) * 1000)
    units |= output_units(counts, completion=completion)
    return usage_of(counts, units, reasoning=counts.completion("reasoning_tokens"))


def xai(usage: dict[str, object]) -> Usage | None:
    """completion excludes reasoning on chat: 204 + 1 + 82 = 287. Where the total says that it is inside, it is."""
    counts = Counts(usage)
    totals = counts.totals()
    if totals is None:
        return None
    prompt, completion = totals
    reasoning = counts.completion("reasoning_tokens")
    total = counts.get("total_tokens")
    output = completion + (reasoning or 0)
    if total is not None and total == prompt + completion:
        output = completion
    counts.must_equal(total, prompt + output)
    units = input_units(
        counts, prompt=prompt, cached=counts.prompt("cached_tokens"), writes={},
        audio=counts.prompt("audio_tokens"), image=counts.prompt("image_tokens"),
    )
    units |= output_units(counts, completion=output, audio=counts.completion("audio_tokens"))
    return usage_of(counts, units, reasoning=reasoning)


def perplexity(usage: dict[str, object]) -> Usage | None:
    """completion excludes reasoning and the tokens of cited sources (genai-prices 0.2.3, "perplexity"); the total may, too.

    Searches have a price each, but where a fee per request pays for them.
    """
    counts = Counts(usage)
    totals = counts.totals()
    if totals is None:
        return None
    prompt, completion = totals
    reasoning = counts.get("reasoning_tokens")
    output = completion + (reasoning or 0) + (counts.get("citation_tokens") or 0)
    total = counts.get("total_tokens")
    if total != prompt + completion:
        counts.must_equal(total, prompt + output)
    units = {"input": prompt, "output": output}
    searches = counts.get("num_search_queries")
    if searches is not None and child(usage, "cost").get("request_cost") is None:
        units["web_searches"] = searches
    return usage_of(counts, units, reasoning=reasoning)


def perplexity_responses(usage: dict[str, object]) -> Usage | None:
    """As OpenAI's, with Anthropic's names for what was read from and written to a cache (perplexityai 0.46)."""
    inside = child(usage, "prompt_tokens_details")
    named = {"cached_tokens": "cache_read_input_tokens", "cache_write_tokens": "cache_creation_input_tokens"}
    renamed = {ours: inside.get(theirs) for ours, theirs in named.items() if inside.get(theirs) is not None}
    return _all_inside({**usage, "prompt_tokens_details": inside | renamed}, write_unit="cache_write_5m")


def gemini_openai(usage: dict[str, object]) -> Usage | None:
    """Gemini's OpenAI-shaped endpoint hides thoughts: output = total - prompt (35 + 12, total 109)."""
    counts = Counts(usage)
    totals = counts.totals()
    if totals is None:
        return None
    prompt, completion = totals
    total = counts.get("total_tokens")
    output = completion
    if total is not None:
        output = max(completion, total - prompt)
        counts.must_equal(total, prompt + output)
    reasoning = counts.completion("reasoning_tokens")
    if reasoning is None and output > completion:
        reasoning = output - completion
    units = input_units(
        counts, prompt=prompt, cached=counts.prompt("cached_tokens"), writes={},
        audio=counts.prompt("audio_tokens"), image=counts.prompt("image_tokens"),
    )
    units |= output_units(counts, completion=output)
    return usage_of(counts, units, reasoning=reasoning)
