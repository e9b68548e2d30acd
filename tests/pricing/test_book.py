from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from pricing import book
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.rate import in_force, rate
from pricing.usage import Usage

TODAY = datetime(2026, 11, 24, tzinfo=UTC)


def versions(provider: str, model: str) -> list[PriceVersion]:
    return [
        PriceVersion(UUID(int=0), price.effective_from, price.effective_to, price.source,
                     tuple(PriceItem(UUID(int=1), *point) for point in price.points))
        for price in reversed(book.find(provider, model))
    ]


def list_pusd(provider: str, model: str, usage: Usage, moment: datetime = TODAY) -> int:
    rated = rate(usage, in_force(versions(provider, model), moment))
    assert rated.priced, rated.why
    return rated.list_pusd


def test_todays_price() -> None:
    usage = Usage({"input": 1000, "cache_read": 1000, "output": 100})
    assert list_pusd("openai", "gpt-4o-mini", usage) == 1000 * 150_000 + 1000 * 75_000 + 100 * 600_000


def test_a_dated_price() -> None:
    usage = Usage({"input": 1_000_000})
    assert list_pusd("openai", "o3", usage, datetime(2025, 5, 1, tzinfo=UTC)) == 10 * 10**12
    assert list_pusd("openai", "o3", usage, datetime(2025, 7, 1, tzinfo=UTC)) == 2 * 10**12


def test_a_cliff() -> None:
    # 0.25 USD for 200,000 tokens, 0.5000025 for one more: billing notes, measured on the source.
    assert list_pusd("google", "gemini-2.5-pro", Usage({"input": 200_000})) == 250_000_000_000
    assert list_pusd("google", "gemini-2.5-pro", Usage({"input": 200_001})) == 500_002_500_000


def test_a_tier_is_priced_only_where_the_source_verified_it() -> None:
    flex = Usage({"input": 1_000_000}, service_tier="flex")
    assert list_pusd("openai", "o3", flex) == 10**12
    assert not rate(flex, in_force(versions("openai", "o3"), datetime(2026, 9, 1, tzinfo=UTC))).priced


def test_cache_writes_are_priced_by_how_long_they_live() -> None:
    assert list_pusd("anthropic", "claude-sonnet-4-6", Usage({"cache_write_5m": 4})) == 4 * 3_750_000
    assert list_pusd("anthropic", "claude-sonnet-4-6", Usage({"cache_write_1h": 4})) == 4 * 6_000_000
    assert list_pusd("openai", "gpt-5.6-sol", Usage({"cache_write_30m": 4})) == 4 * 5_000_000
    assert list_pusd("openai", "gpt-4o-mini", Usage({"cache_write_30m": 4})) == 4 * 150_000
    assert not rate(Usage({"cache_write_12h": 4}), in_force(versions("openai", "gpt-5.6-sol"), TODAY)).priced


def test_a_price_by_time_of_day_is_the_dearest_and_says_so() -> None:
    (price,) = book.find("deepseek", "deepseek-flash")
    assert price.source.endswith("(dearest time of day)")
    assert list_pusd("deepseek", "deepseek-flash", Usage({"input": 1_000_000})) == 300_000_000_000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini-foo"), ("openai", "gpt-4o-mini-"), ("openai", "GPT-4O-MINI"), ("openai", ""),
        ("google", "gemini-2.5-pro-foo"),
        ("nobody", "gpt-4o"), ("../data/openai", "gpt-4o"), ("SOURCE", "gpt-4o"), ("azure", "gpt-4o"),
    ],
)
def test_nothing_is_guessed(provider: str, model: str) -> None:
    assert book.find(provider, model) == ()
    assert isinstance(in_force(versions(provider, model), TODAY), Unpriced)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929"), ("fireworks", "accounts/fireworks/models/deepseek-v3p2"),
        ("openai", "gpt-4o-mini-2024-07-18"), ("xai", "grok-4.3"), ("gemini", "gemini-2.5-flash"),
        ("mistral", "mistral-large-latest"), ("groq", "llama-3.3-70b-versatile"), ("openrouter", "openai/gpt-4o-mini"),
    ],
)
def test_ids_that_people_write_are_known(provider: str, model: str) -> None:
    assert book.find(provider, model)


def test_history_has_no_gap_and_the_source_is_named() -> None:
    for provider in book.providers():
        for model in book._load(provider):
            dated = book.find(provider, model)
            assert dated[0].effective_from == book.DAWN
            assert dated[-1].effective_to is None
            for earlier, later in zip(dated, dated[1:], strict=False):
                assert earlier.effective_to == later.effective_from > earlier.effective_from
            assert all(price.source.startswith("genai-prices ") and len(price.source_revision) == 64 for price in dated)
