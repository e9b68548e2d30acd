from __future__ import annotations

import pytest

from proxy.providers.openai import OpenAIDialect
from proxy.providers.registry import DIALECTS, READERS

dialect = OpenAIDialect()


def test_paths_and_headers() -> None:
    assert dialect.path("chat") == "/chat/completions"
    assert dialect.object_path("responses/{response}/input_items", ["resp_1"]) == "/responses/resp_1/input_items"
    assert dialect.headers("sk-1") == [(b"authorization", b"Bearer sk-1")]


@pytest.mark.parametrize("key", ["", "a b!", "a\r\nx: y", "a\n", "ключ", "a\0"])
def test_a_key_that_is_no_header_value_is_refused_unseen(key: str) -> None:
    with pytest.raises(ValueError, match="provider key") as caught:
        dialect.headers(key)
    assert key == "" or key not in str(caught.value)


def test_renames_by_provider() -> None:
    assert dialect.renames("mistral") == {"max_completion_tokens": "max_tokens"}
    assert dialect.renames("openai") == {}


def test_every_named_reader_is_there() -> None:
    assert set(READERS) == {
        "openai",
        "azure",
        "groq",
        "deepseek",
        "openrouter",
        "mistral",
        "xai",
        "gemini_openai",
        "together",
        "perplexity",
    }
    assert set(DIALECTS) == {"openai"}
