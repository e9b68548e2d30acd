"""The book against its source: genai-prices' own calculation, on the same usage, for every model and every date."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import product
from pathlib import Path
from uuid import UUID

import genai_prices.data
import pytest
from genai_prices.types import Provider
from genai_prices.types import Usage as SourceUsage

from pricing import book
from pricing.data import convert
from pricing.data.corrections import CORRECTED, FILE
from pricing.price import PriceItem, PriceVersion
from pricing.rate import rate
from pricing.usage import Usage

SOURCE = {provider.id: provider for provider in genai_prices.data.providers}
# By service tier and processing, as theirs.
CONTEXTS = {("", "batch"): {"processing": "batch"}, ("flex", ""): {"service_tier": "flex"},
            ("priority", ""): {"service_tier": "priority"}, ("fast", ""): {"service_tier": "fast", "speed": "fast"}}
SIZES = (7, 40_000, 130_000, 300_000, 600_000)
MIDNIGHT = [0]


def compared(
    provider: Provider, model: str, price: book.DatedPrice, narrowing: tuple[str, str], size: int, minute: int
) -> tuple[Decimal, Decimal]:
    tier, processing = narrowing
    items = tuple(PriceItem(UUID(int=1), *point) for point in price.points)
    priced = {item.unit for item in items if (item.service_tier, item.processing) == narrowing}
    write = next((unit for unit in ("cache_write_30m", "cache_write_5m") if unit in priced), None)
    ask = {"input": size, "cache_read": size // 3 if "input" in priced else 0, "output": size // 7,
           "cache_write_1h": size // 9, "input_audio": size // 11,
           "input_image": size // 13, "output_image": size // 5, "output_audio": size // 6}
    units = {unit: quantity for unit, quantity in ask.items() if unit in priced or unit == "cache_read"}
    if write:
        units[write] = size // 4
    if "input_audio" in priced and "cache_read_audio" in priced:
        units["cache_read_audio"] = size // 17
    if "input_image" in priced and "cache_read_image" in priced:
        units["cache_read_image"] = size // 19
    usage = Usage(units, service_tier=tier, processing=processing)
    ours = rate(usage, PriceVersion(UUID(int=0), book.DAWN, None, "", items), minute)
    assert ours.priced, ours.why

    def n(*names: str) -> int:
        return sum(units.get(name, 0) for name in names)

    written = n("cache_write_5m", "cache_write_30m", "cache_write_1h")
    theirs = SourceUsage(
        input_tokens=Usage(units).input_tokens, cache_read_tokens=Usage(units).cached_tokens,
        cache_audio_read_tokens=n("cache_read_audio"), cache_image_read_tokens=n("cache_read_image"),
        cache_write_tokens=written, cache_write_1h_tokens=n("cache_write_1h"),
        input_audio_tokens=n("input_audio", "cache_read_audio"),
        input_image_tokens=n("input_image", "cache_read_image"),
        output_tokens=Usage(units).output_tokens,
        output_audio_tokens=n("output_audio"), output_image_tokens=n("output_image"),
    )
    found = provider.find_model(model)
    assert found is not None
    moment = price.effective_from + timedelta(minutes=minute)
    context = CONTEXTS.get(narrowing)
    result = found.calc_price(theirs, provider, genai_request_timestamp=moment, price_context=context)
    return Decimal(ours.list_pusd), result.total_price * 10**12


@pytest.mark.parametrize("name", book.providers())
def test_the_book_charges_what_its_source_charges(name: str) -> None:
    provider = SOURCE[name]
    checked = 0
    for model in book._load(name):
        for price in book.find(name, model):
            units = {point.unit for point in price.points}
            if not units & {"input", "output"} or CORRECTED in price.source:  # decided otherwise: test_corrections.py
                continue
            narrowings = {(point.service_tier, point.processing) for point in price.points}
            assert narrowings <= CONTEXTS.keys() | {("", "")}
            edges = {edge for point in price.points for edge in (point.from_minute, point.to_minute)}
            minutes = sorted({(edge + by) % 1440 for edge in edges for by in (-1, 0)}) if edges - {0} else MIDNIGHT
            for narrowing, size, minute in product(sorted(narrowings), SIZES, minutes):
                ours, theirs = compared(provider, model, price, narrowing, size, minute)
                # Float noise of OpenRouter's feed, quantised away, is less than half a pico per token.
                noise = size if name == "openrouter" else 0
                assert abs(ours - theirs) <= noise, (model, price.effective_from, narrowing, size, minute)
                checked += 1
    assert checked > 20


def test_the_committed_book_is_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = convert.HERE
    (tmp_path / "SOURCE.json").write_text((here / "SOURCE.json").read_text())  # keeps the date of an unchanged source
    monkeypatch.setattr(convert, "HERE", tmp_path)
    convert.main([])
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(path.name for path in here.glob("*.json") if path != FILE)
    for name in written:
        assert (tmp_path / name).read_text() == (here / name).read_text(), f"{name}: run `make prices`"


def test_one_document_is_the_same_book(tmp_path: Path) -> None:
    convert.main(["--out", str(tmp_path / "book.json")])
    found = book.Book.from_document(json.loads((tmp_path / "book.json").read_text()))
    shipped = book.packaged()
    assert (found.name, found.revision, found.providers) == (shipped.name, shipped.revision, shipped.providers)
    assert sorted(found.models()) == sorted(shipped.models())
    assert all(found.find(*model) == shipped.find(*model) for model in shipped.models())


def test_provenance_names_the_exact_data() -> None:
    record = json.loads((convert.HERE / "SOURCE.json").read_text())
    data = Path(genai_prices.data.__file__).read_bytes()
    assert record["sha256"] == sha256(data).hexdigest()
    assert sum(path.stat().st_size for path in convert.HERE.glob("*.json")) < 1_500_000


def test_what_no_unit_carries_is_left_out_and_named() -> None:
    record = json.loads((convert.HERE / "SOURCE.json").read_text())
    assert "gemini-embedding-2" in record["left_out"]["google: priced by input_video_mtok"]
    assert book.find("google", "gemini-embedding-2") == ()


@pytest.mark.parametrize(
    ("usd", "per", "written_per", "text"),
    [
        ("0.15", 10**6, 10**6, "0.15"), ("0.18000000000000002", 10**6, 10**6, "0.18"), ("100", 10**6, 10**6, "100"),
        ("0.0833333333333333", 10**6, 10**6, "0.083333"), ("0", 10**6, 10**6, "0"), ("10", 1000, 1, "0.01"),
        ("15", 10**6, 1, "0.000015"), ("0.04", 3_600_000, 1, "0.04/3600000"),
    ],
)
def test_how_a_price_is_written(usd: str, per: int, written_per: int, text: str) -> None:
    assert convert._text(Decimal(usd), per, written_per) == text
