from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.families import family_of


@pytest.mark.parametrize(
    ("model", "family", "encoding"),
    [
        ("gpt-4o-mini", "openai", "o200k_base"),
        ("gpt-4.1", "openai", "o200k_base"),
        ("gpt-4", "openai-cl100k", "cl100k_base"),
        ("openai/gpt-4-turbo", "openai-cl100k", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme::id", "openai-cl100k", "cl100k_base"),
        ("gpt-35-turbo", "openai-cl100k", "cl100k_base"),
        ("text-embedding-3-small", "openai-cl100k", "cl100k_base"),
        ("gpt-5-mini", "openai-reasoning", "o200k_base"),
        ("openai/o3", "openai-reasoning", "o200k_base"),
        ("gpt-5.6-luna", "openai-gpt-5.6", "o200k_base"),
        ("gpt-6.1-sol", "openai-gpt-5.6", "o200k_base"),
        ("openai/gpt-oss-120b", "gpt-oss", "o200k_base"),
        ("claude-sonnet-4-5", "claude", "o200k_base"),
        ("anthropic/claude-3.5-sonnet", "claude", "o200k_base"),
        ("us.anthropic.claude-sonnet-5", "claude-4.7", "o200k_base"),
        ("claude-haiku-5-5", "claude-4.7", "o200k_base"),
        ("gemini-2.5-flash", "gemini", "o200k_base"),
        ("models/gemini-3.8-flash", "gemini-3", "o200k_base"),
        ("gemini-4-argon", "gemini-3", "o200k_base"),
        ("gemma3:4b", "gemma", "o200k_base"),
        ("llama3-8b-8192", "llama-3.0", "o200k_base"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama", "o200k_base"),
        ("deepseek-r1-distill-llama-70b", "llama", "o200k_base"),
        ("deepseek-v4-pro", "deepseek", "o200k_base"),
        ("mistral-large-4", "mistral", "o200k_base"),
        ("mixtral-8x7b", "mistral", "o200k_base"),
        ("my-own-model", "openai", "o200k_base"),
    ],
)
def test_by_name(model: str, family: str, encoding: str) -> None:
    found = family_of(model)
    assert (found.name, found.encoding) == (family, encoding)


@pytest.mark.parametrize(
    ("model", "free", "demanded"),
    [
        ("claude-sonnet-4-0", 313, 315),
        ("claude-opus-4.5", 496, 588),
        ("claude-sonnet-4-6", 497, 589),
        ("claude-opus-4-7", 675, 804),
        ("claude-opus-4-8", 290, 410),
        ("claude-sonnet-5", 354, 474),
        ("claude-3-5-haiku-latest", 264, 355),
        ("claude-3-7-sonnet-latest", 346, 313),
    ],
)
def test_the_prompt_that_claudes_tools_bring(model: str, free: int, demanded: int) -> None:
    """Anthropic's table ("Tool use")."""
    tools = family_of(model).tools
    assert (tools.free, tools.demanded) == (free, demanded)


@settings(deadline=None)
@given(st.text())
def test_any_name_has_a_family(model: str) -> None:
    assert family_of(model).encoding in ("o200k_base", "cl100k_base")
