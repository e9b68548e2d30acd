"""Whose price holds at a route: config.yaml's, else a custom one, else an imported one, else the price book's. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from proxy.catalog.plan import PriceBook, RoutePlan, price_history
from proxy.catalog.price_changes import Piece, Stored, overlaps, overlay, stored_pieces, wanted_pieces

_VERSIONED = re.compile(r"(\S+) (\d+(?:\.\d+)*)")


def wanted_of(route: RoutePlan, stored: Sequence[Stored], find: PriceBook, now: datetime) -> list[Piece]:
    """The whole history that this route should have from now on, given what is stored of it."""
    history = price_history(route, find)
    if route.price is not None:
        return wanted_pieces(history, "config")
    listed = [version for version in stored if version.origin in ("book", "import")]
    imported = [version for version in listed if version.origin == "import" and overlaps(version, now, None)]
    if imported and not (history and any(is_newer(history[-1].source, version.source) for version in imported)):
        return overlay(stored_pieces(listed), custom_pieces(stored))
    return overlay(wanted_pieces(history, "book"), custom_pieces(stored))


def custom_pieces(stored: Sequence[Stored]) -> list[Piece]:
    return stored_pieces(version for version in stored if version.origin == "custom")


def is_newer(source: str, other: str) -> bool:
    """'genai-prices 0.2.10' is newer than 'genai-prices 0.2.9'. Different sources cannot be compared: not newer."""
    this, that = _VERSIONED.match(source), _VERSIONED.match(other)
    if this is None or that is None or this[1] != that[1]:
        return False
    return _numbers(this[2]) > _numbers(that[2])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
