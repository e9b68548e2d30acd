from __future__ import annotations

import pytest

from proxy.providers.openai import OpenAIDialect
from proxy.providers.readers import reader_for
from proxy.providers.registry import READERS
from proxy.providers.support import SURFACES, surfaces_of


@pytest.mark.parametrize(
    ("base_url", "has", "lacks"),
    [
        ("https://api.openai.com/v1", SURFACES, ()),
        ("https://API.OpenAI.com:443/v1/", SURFACES, ()),
        ("https://res.openai.azure.com/openai/v1", ("chat", "responses", "embeddings"), ("moderations",)),
        ("https://api.anthropic.com/v1", ("chat",), ("responses", "embeddings", "completions", "moderations")),
        ("https://generativelanguage.googleapis.com/v1beta/openai", ("chat", "embeddings"), ("responses",)),
        ("https://api.mistral.ai/v1", ("embeddings", "moderations"), ("responses", "completions")),
        ("https://api.groq.com/openai/v1", ("responses",), ("embeddings",)),
        ("http://127.0.0.1:8080/v1", SURFACES, ()),
        ("http://[::1]:8080/v1", SURFACES, ()),
        ("https://llm.example.com/v1", SURFACES, ()),
        ("https://notapi.openai.com.example.org/v1", SURFACES, ()),
        ("nonsense", SURFACES, ()),
    ],
)
def test_surfaces_by_host(base_url: str, has: tuple[str, ...], lacks: tuple[str, ...]) -> None:
    found = surfaces_of(base_url)
    assert found >= set(has)
    assert not found & set(lacks)


def test_every_surface_has_a_path_and_a_reader_at_every_provider() -> None:
    dialect = OpenAIDialect()
    assert [dialect.path(surface) for surface in SURFACES] == [
        "/chat/completions",
        "/responses",
        "/completions",
        "/embeddings",
        "/moderations",
    ]
    assert [surface for surface in SURFACES if dialect.reports_if_asked(surface)] == ["chat", "completions"]
    for surface in SURFACES:
        for name in READERS:
            assert reader_for(surface, name).needle
    assert reader_for("completions", "groq") is reader_for("chat", "groq")


def test_names_of_chat_fields_are_not_changed_elsewhere() -> None:
    assert OpenAIDialect().renames("mistral", "chat")
    assert not OpenAIDialect().renames("mistral", "completions")
