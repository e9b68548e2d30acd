from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.image_size import Size
from proxy.metering.image_tokens import image_tokens


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # OpenAI's own examples ("Calculating costs").
        ("gpt-4o", Size(1024, 1024), "high", 765),
        ("gpt-4o", Size(2048, 4096), "high", 1105),
        ("gpt-4o", Size(4096, 8192), "low", 85),
        ("gpt-4.1-nano", Size(1024, 1024), None, 2520),  # 1024 patches × 2.46
        ("gpt-5-mini", Size(1024, 1024), None, 1659),
        ("gpt-4.1-mini", Size(1800, 2400), None, 2353),  # 1452 patches × 1.62
        # Recorded calls: what the provider reported, less text and framing.
        ("gpt-4o", Size(400, 400), "auto", 255),
        ("gpt-4o", Size(550, 368), None, 425),
        ("gpt-4o-mini", Size(1, 1), "auto", 8500),
        ("gpt-4-vision-preview", Size(2560, 1669), None, 1105),
        ("gpt-5", Size(1024, 1024), None, 630),
        ("o3", Size(1024, 1024), "low", 75),
        ("gpt-6.1-sol", Size(1024, 1024), None, 1229),
        ("gpt-6.1-sol", Size(4000, 4000), "original", 12000),
        ("gpt-4o", None, None, 765),
    ],
)
def test_openai(model: str, size: Size | None, detail: object, tokens: int) -> None:
    assert image_tokens("openai", model, size, detail) == tokens


@pytest.mark.parametrize(
    ("rule", "size", "detail", "tokens"),
    [
        # Recorded calls.
        ("claude", Size(400, 400), None, 227), ("claude", Size(550, 368), None, 282), ("claude", Size(100, 100), None, 18),
        ("claude", Size(172, 178), None, 51), ("gemini", Size(100, 100), None, 258), ("gemini", Size(550, 368), None, 258),
        # Documented.
        ("claude", Size(8000, 8000), None, 1570), ("claude-4.7", Size(8000, 8000), None, 4786), ("gemini", Size(1000, 700), None, 516),
        ("gemini", Size(90_000, 90_000), None, 4128),
        ("gemini-3", Size(100, 100), None, 1120), ("gemini-3", None, "low", 280),
    ],
)  # fmt: skip
def test_others(rule: str, size: Size | None, detail: object, tokens: int) -> None:
    assert image_tokens(rule, "any", size, detail) == tokens


@settings(deadline=None)
@given(
    st.sampled_from(["openai", "claude", "claude-4.7", "gemini", "gemini-3", "?"]),
    st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-5-mini", "gpt-5.2", "o1", "x"]),
    st.integers(1, 100_000), st.integers(1, 100_000), st.sampled_from([None, "low", "high", "original", 5, ["low"]]),
)  # fmt: skip
def test_any_size(rule: str, model: str, width: int, height: int, detail: object) -> None:
    assert 1 <= image_tokens(rule, model, Size(width, height), detail) <= 50_000
