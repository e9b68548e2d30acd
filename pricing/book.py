"""The price book: list prices by provider and exact model id, with their history. Read when first asked for.

An id that is not in the book has no price here: no prefix or family is guessed. Data and provenance: pricing/data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple, NotRequired, TypedDict

from pricing.price_text import PricePoint, read_price

# "Always": prices without a beginning are in force from here.
DAWN = datetime(1970, 1, 1, tzinfo=UTC)

# Names that people give to a provider in config.yaml, where they differ from the book's.
_ALSO_CALLED = {"xai": "x-ai", "gemini": "google"}


class DatedPrice(NamedTuple):
    """In force from `effective_from` (inclusive) to `effective_to` (exclusive; None: until further notice)."""

    effective_from: datetime
    effective_to: datetime | None
    source: str  # "genai-prices 0.2.3", with a caveat where there is one
    source_revision: str  # sha256 of the source's data file
    points: tuple[PricePoint, ...]


# As in the JSON; the functional form because "from" is a keyword.
_Entry = TypedDict("_Entry", {"from": str | None, "price": dict[str, object], "note": NotRequired[str]})


def find(provider: str, model: str) -> tuple[DatedPrice, ...]:
    """Oldest first, without gaps; empty where the book does not know this model at this provider."""
    book = _load(_ALSO_CALLED.get(provider, provider))
    entries = book.get(model)
    if entries is None:
        return ()
    source = _source()
    dated: list[DatedPrice] = []
    ends = [*(_moment(entry["from"]) for entry in entries[1:]), None]
    for entry, end in zip(entries, ends, strict=True):
        caveat = f" ({entry['note']})" if "note" in entry else ""
        name = f"{source['source']} {source['version']}{caveat}"
        dated.append(DatedPrice(_moment(entry["from"]), end, name, source["sha256"], read_price(entry["price"])))
    return tuple(dated)


def providers() -> tuple[str, ...]:
    return tuple(_source()["models"])


def _moment(day: str | None) -> datetime:
    return DAWN if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)


@cache
def _source() -> Mapping[str, str]:
    source: Mapping[str, str] = json.loads(files("pricing.data").joinpath("SOURCE.json").read_text("utf-8"))
    return source


@cache
def _load(provider: str) -> Mapping[str, list[_Entry]]:
    """Every id, aliases too → its dated entries."""
    if provider not in providers():  # also keeps a name from becoming a path
        return {}
    text = files("pricing.data").joinpath(f"{provider}.json").read_text("utf-8")
    by_id: dict[str, list[_Entry]] = {}
    for model, entry in json.loads(text)["models"].items():
        for name in (model, *entry.get("also", ())):
            by_id[name] = entry["prices"]
    return by_id
