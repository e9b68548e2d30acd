"""What an attempt consumed, once more: from the provider's own words where they were kept, else from its lines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from pricing.units import UNITS
from pricing.usage import Part, Usage
from proxy.ledger.corrections.figures import Attempt
from proxy.metering.reading import UsageReader

# Which model's price an item is; None: it is gone.
ModelOf = Callable[[UUID], str | None]
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Again(NamedTuple):
    usage: Usage
    from_raw: bool  # else the row's own totals stand


class _Lines(NamedTuple):
    """What the lines say was consumed: by the llm itself, and by other models that it called."""

    own: list[tuple[str, int]]
    of_models: dict[str, dict[str, int]]

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(model, units) for model, units in self.of_models.items())


def usage_again(attempt: Attempt, reader: UsageReader | None, model_of: ModelOf) -> Again | None:
    """`reader` None: nobody reads this provider's words any more. None: it cannot be told whose a line is."""
    lines = _lines(attempt, model_of)
    said = _from_raw(attempt, reader)
    if said is not None:
        _add_counted(said.units, lines.own)
        said.parts = _named(said.parts, lines)
        said.inconsistent = said.inconsistent or attempt.row.usage_inconsistent
        return Again(_as_served(said, attempt), True)
    own = dict(lines.own)
    if len(own) < len(lines.own):  # another model's, without a price that would name it
        return None
    row = attempt.row
    usage = Usage(own, row.reasoning_tokens, row.usage_inconsistent, parts=lines.parts)
    return Again(_as_served(usage, attempt), False)


def _as_served(usage: Usage, attempt: Attempt) -> Usage:
    usage.service_tier = attempt.row.service_tier or None
    usage.processing = attempt.processing
    return usage


def _from_raw(attempt: Attempt, reader: UsageReader | None) -> Usage | None:
    raw = attempt.raw_usage
    if reader is None or raw is None or attempt.usage_source != "provider":
        return None
    try:
        several = "usage" in _object.decode(raw)
    except (msgspec.DecodeError, RecursionError):  # too long to be kept whole
        return None
    return reader.read(raw.encode() if several else b'{"usage":%b}' % raw.encode()).usage


def _lines(attempt: Attempt, model_of: ModelOf) -> _Lines:
    own: list[tuple[str, int]] = []
    of_models: dict[str, dict[str, int]] = {}
    for unit, quantity, item, _, _ in attempt.row.lines:
        if _is_information(unit):  # a fee per request: pricing adds it by itself
            continue
        model = None if item is None else model_of(item)
        if model is None or model == attempt.upstream_model:
            own.append((unit, quantity))
        else:
            of_models.setdefault(model, {})[unit] = quantity
    return _Lines(own, of_models)


def _named(parts: tuple[Part, ...], lines: _Lines) -> tuple[Part, ...]:
    """Raw usage has what another model consumed, but not which one it was: where it had a price, its lines know."""
    if not parts:
        return lines.parts
    if len(lines.of_models) != 1:
        return parts
    (model,) = lines.of_models
    return tuple(part._replace(model=part.model or model) for part in parts)


def _add_counted(units: dict[str, int], lines: Iterable[tuple[str, int]]) -> None:
    """Things that are counted in the answer and not in its usage. Which size they had, only lines can tell."""
    for unit, quantity in lines:
        name, _, variant = unit.partition("/")
        known = UNITS.get(name)
        if known is None or known.kind != "count":
            continue
        if variant:
            units.pop(name, None)
            units[unit] = quantity
        elif all(other.partition("/")[0] != name for other in units):
            units[unit] = quantity


def _is_information(unit: str) -> bool:
    known = UNITS.get(unit)
    return known is not None and known.information
