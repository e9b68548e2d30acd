"""The price book: list prices by provider and exact model id, with their history. Read when first asked for.

An id that is not in the book has no price here: no prefix or family is guessed. The book that ships with the gateway is
in pricing/data, with its provenance; another one is a JSON document of the same form (`python -m pricing.data.convert`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple, NotRequired, TypeAlias, TypedDict

from pricing.price_text import PricePoint, read_price

# "Always": prices without a beginning are in force from here.
DAWN = datetime(1970, 1, 1, tzinfo=UTC)

# Names that people give to a provider in config.yaml, where they differ from the book's.
_ALSO_CALLED = {"xai": "x-ai", "gemini": "google"}
_DATE = "%Y-%m-%d"


class DatedPrice(NamedTuple):
    """In force from `effective_from` (inclusive) to `effective_to` (exclusive; None: until further notice)."""

    effective_from: datetime
    effective_to: datetime | None
    source: str  # "genai-prices 0.2.3", with a caveat where there is one
    source_revision: str  # sha256 of the source's data file
    points: tuple[PricePoint, ...]


# As in the JSON; the functional form because "from" is a keyword.
_Entry = TypedDict("_Entry", {"from": str | None, "price": dict[str, object], "note": NotRequired[str]})
# Every id of a provider, aliases too → its dated entries.
_Models: TypeAlias = Mapping[str, list[_Entry]]


@dataclass(frozen=True, slots=True)
class Book:
    """`revision`: sha256 of the source's data file. `models_of`: by provider; empty for one that is not there."""

    source: str
    version: str
    revision: str
    providers: tuple[str, ...]
    models_of: Callable[[str], _Models] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.source} {self.version}"

    def find(self, provider: str, model: str) -> tuple[DatedPrice, ...]:
        """Oldest first, without gaps; empty where the book does not know this model at this provider."""
        entries = self.models_of(_ALSO_CALLED.get(provider, provider)).get(model, [])
        return tuple(self._dated(entries))

    def models(self) -> Iterator[tuple[str, str]]:
        """Provider and id of each, aliases too."""
        for provider in self.providers:
            for model in self.models_of(provider):
                yield provider, model

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> Book:
        """Everything in it is read once: what comes out of `find` later has no surprises. Raises ValueError."""
        source, version, revision = (_text(document, name) for name in ("source", "version", "sha256"))
        models = {
            provider: _by_id(_mapping(entries, provider), provider)
            for provider, entries in _mapping(document.get("providers"), "providers").items()
        }
        book = cls(source, version, revision, tuple(models), lambda provider: models.get(provider, {}))
        for provider, model in book.models():
            try:
                dated = book.find(provider, model)
            except ValueError as problem:
                raise ValueError(f"{provider}/{model}: {problem}") from None
            if any(later.effective_from <= earlier.effective_from for earlier, later in pairwise(dated)):
                raise ValueError(f"{provider}/{model}: its prices are not in the order of their days")
        return book

    def _dated(self, entries: list[_Entry]) -> Iterator[DatedPrice]:
        starts = [_moment(entry["from"]) for entry in entries]
        for entry, start, end in zip(entries, starts, [*starts[1:], None], strict=False):
            caveat = f" ({entry['note']})" if "note" in entry else ""
            yield DatedPrice(start, end, f"{self.name}{caveat}", self.revision, read_price(entry["price"]))


@cache
def packaged() -> Book:
    """The one that ships with the gateway."""
    source = _source()
    return Book(source["source"], source["version"], source["sha256"], tuple(source["models"]), _load)


def find(provider: str, model: str) -> tuple[DatedPrice, ...]:
    """In the book that ships with the gateway."""
    return packaged().find(provider, model)


def providers() -> tuple[str, ...]:
    return packaged().providers


def _moment(day: str | None) -> datetime:
    return DAWN if day is None else datetime.strptime(day, _DATE).replace(tzinfo=UTC)


@cache
def _source() -> Mapping[str, str]:
    source: Mapping[str, str] = json.loads(files("pricing.data").joinpath("SOURCE.json").read_text("utf-8"))
    return source


@cache
def _load(provider: str) -> _Models:
    if provider not in _source()["models"]:  # also keeps a name from becoming a path
        return {}
    text = files("pricing.data").joinpath(f"{provider}.json").read_text("utf-8")
    return _by_id(json.loads(text)["models"], provider)


def _by_id(models: Mapping[str, object], provider: str) -> _Models:
    """Raises ValueError where a document has another form than ours."""
    by_id: dict[str, list[_Entry]] = {}
    for model, entry in models.items():
        where = f"{provider}/{model}"
        fields = _mapping(entry, where)
        also, prices = fields.get("also", []), fields.get("prices")
        if not isinstance(prices, list) or not isinstance(also, list):
            raise ValueError(f"{where}: expected `prices`, a list, and perhaps `also`, a list of names")
        entries = [_entry(price, where) for price in prices]
        for name in (model, *also):
            if not isinstance(name, str):
                raise ValueError(f"{where}: a name is text")
            by_id[name] = entries
    return by_id


def _entry(value: object, where: str) -> _Entry:
    fields = _mapping(value, where)
    day, note = fields.get("from"), fields.get("note")
    if not isinstance(day, str | None) or not isinstance(note, str | None):
        raise ValueError(f"{where}: `from` is a day such as \"2026-11-30\", or null; `note` is text")
    entry: _Entry = {"from": day, "price": _mapping(fields.get("price"), f"{where}: price")}
    if note is not None:
        entry["note"] = note
    return entry


def _mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a mapping")
    return value


def _text(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is missing: what `python -m pricing.data.convert --out FILE` writes has it")
    return value
