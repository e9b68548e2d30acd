"""The usage that nearly every answer has, read in one step; anything else takes the sums of its provider.

Exactly the fields that OpenAI documents for chat completions ("usage", API reference), each a count, adding up, without
audio, images or predictions: then the sums have nothing to decide.
"""

from __future__ import annotations

import msgspec

from pricing.usage import Usage
from proxy.providers.counts import MAX_COUNT

_MISSING = -1


class _Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cached_tokens: int = _MISSING
    audio_tokens: int = _MISSING


class _Completion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reasoning_tokens: int = _MISSING
    audio_tokens: int = _MISSING
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Prompt = _Prompt()
    completion_tokens_details: _Completion = _Completion()


_decoder = msgspec.json.Decoder(_Usage)


def plain_usage(raw: bytes) -> Usage | None:
    """None: it is not plain."""
    try:
        usage = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    of_prompt, of_completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached, reasoning = of_prompt.cached_tokens, of_completion.reasoning_tokens
    if (
        not 0 <= prompt <= MAX_COUNT
        or not 0 <= completion <= MAX_COUNT
        or usage.total_tokens != prompt + completion
        or not _MISSING <= cached <= prompt
        or not _MISSING <= reasoning <= completion
        or usage.total_tokens > MAX_COUNT
        or not _MISSING <= of_prompt.audio_tokens <= 0
        or not _MISSING <= of_completion.audio_tokens <= 0
    ):
        return None
    units = {"input": prompt, "output": completion}
    if cached >= 0:
        units["cache_read"] = cached
        units["input"] = prompt - cached
    if of_prompt.audio_tokens == 0:
        units["input_audio"] = 0
    if of_completion.audio_tokens == 0:
        units["output_audio"] = 0
    return Usage(units, reasoning if reasoning >= 0 else None)
