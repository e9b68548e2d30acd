from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from pricing import book
from pricing.book import Book
from pricing.price import PriceItem, PriceVersion, Unpriced
from pricing.price_text import read_price
from pricing.rate import in_force, rate
from pricing.usage import Usage

TODAY = datetime(2026, 11, 24, tzinfo=UTC)
DOCUMENT: dict[str, object] = {
    "source": "theirs", "version": "2", "sha256": "0" * 64,
    "providers": {"openai": {"m": {"also": ["m-latest"], "prices": [
        {"from": None, "price": {"input": "1"}},
        {"from": "2026-01-31", "price": {"input": "2", "batch": {"input": "1"}}, "note": "a guess"},
    ]}}},
}  # fmt: skip


def versions(provider: str, model: str) -> list[PriceVersion]:
    return [
        PriceVersion(UUID(int=0), price.effective_from, price.effective_to, price.source,
                     tuple(PriceItem(UUID(int=1), *point) for point in price.points))
        for price in reversed(book.find(provider, model))
    ]


def list_pusd(provider: str, model: str, usage: Usage, moment: datetime = TODAY) -> int:
    rated = rate(usage, in_force(versions(provider, model), moment), moment.hour * 60 + moment.minute)
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


def test_a_batch_has_its_own_price_and_the_cache_keeps_what_the_source_says() -> None:
    batch = Usage({"input": 1_000_000, "cache_read": 1_000_000}, processing="batch")
    # Google halves its input in a batch and leaves the cache as it is; Anthropic halves both.
    assert list_pusd("google", "gemini-2.5-pro", Usage({"cache_read": 10}, processing="batch")) == 10 * 125_000
    assert list_pusd("anthropic", "claude-sonnet-4-6", batch) == 1_500_000_000_000 + 150_000_000_000
    assert not rate(batch, in_force(versions("deepseek", "deepseek-flash"), TODAY)).priced


def test_deepseek_is_dearer_at_its_peak_and_says_that_weekends_are_too() -> None:
    (price,) = book.find("deepseek", "deepseek-flash")
    assert price.source.endswith("(weekday peak hours on every day)")
    usage = Usage({"input": 1_000_000})
    for clock, pusd in [("00:59", 150), ("01:00", 300), ("03:59", 300), ("04:00", 150), ("09:59", 300), ("10:00", 150)]:
        moment = datetime.fromisoformat(f"2026-11-24T{clock}:59+00:00")
        assert list_pusd("deepseek", "deepseek-flash", usage, moment) == pusd * 10**9, clock


def test_groq_bills_ten_seconds_of_audio_at_least() -> None:
    ten_seconds = 111_111_111  # 0.04 USD / 3,600,000 × 10,000, rounded once
    for audio_ms in (1, 9_999, 10_000):
        assert list_pusd("groq", "whisper-large-v3-turbo", Usage({"audio_ms": audio_ms})) == ten_seconds
    assert list_pusd("groq", "whisper-large-v3-turbo", Usage({"audio_ms": 3_600_000})) == 40_000_000_000


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


# -- Another book ---------------------------------------------------------------------------------------------------


def test_a_document_is_a_book() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    found = Book.from_document(document)
    assert (found.name, found.revision, found.providers) == ("theirs 2", "0" * 64, ("openai",))
    assert list(found.models()) == [("openai", "m"), ("openai", "m-latest")]
    old, new = found.find("openai", "m-latest")
    assert (old.effective_from, old.effective_to, old.source) == (book.DAWN, new.effective_from, "theirs 2")
    assert (new.source, new.effective_to) == ("theirs 2 (a guess)", None)
    assert new.points == read_price({"input": "2", "batch": {"input": "1"}})
    assert found.find("openai", "m-") == found.find("xai", "m") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": None}, "`sha256` is missing"), ({"source": 5}, "`source` is missing"),
        ({"providers": []}, "providers: expected a mapping"), ({"providers": {"openai": []}}, "openai: expected a mapping"),
        ({"providers": {"openai": {"m": {}}}}, "openai/m: expected `prices`, a list"),
        ({"providers": {"openai": {"m": {"prices": [5]}}}}, "openai/m: expected a mapping"),
        ({"providers": {"openai": {"m": {"prices": [], "also": [5]}}}}, "a name is text"),
        ({"providers": {"openai": {"m": {"prices": [{"from": 5, "price": {"input": "1"}}]}}}}, "openai/m: `from` is a day"),
        ({"providers": {"openai": {"m": {"prices": [{"from": "soon", "price": {"input": "1"}}]}}}}, "openai/m: .*soon"),
        ({"providers": {"openai": {"m": {"prices": [{"from": None, "price": {"input": 1}}]}}}}, "openai/m: input: a price is"),
        ({"providers": {"openai": {"m": {"prices": [{"from": None}]}}}}, "openai/m: price: expected a mapping"),
        ({"providers": {"openai": {"m": {"prices": [
            {"from": day, "price": {"input": "1"}} for day in ("2026-02-01", "2026-01-31")]}}}}, "not in the order"),
    ],
)  # fmt: skip
def test_a_document_with_a_mistake_says_where(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Book.from_document({**DOCUMENT, **change})
