"""What must be written so that the stored price versions of a route are the wanted ones from a moment on. Pure.

Nothing before that moment changes, and a price that is or was in force keeps its items, as settled events name them:
a version is cut at its end, or superseded where its whole time is wanted otherwise. Versions whose time has not come
are replaced freely. Only a route without any version receives its whole history, dates included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from pricing.book import DAWN, DatedPrice
from pricing.price_text import digest

Origin = Literal["config", "book", "import", "custom"]


class Stored(NamedTuple):
    """A version that is not superseded. Two of a route never overlap."""

    id: UUID
    effective_from: datetime
    effective_to: datetime | None
    digest: str
    origin: Origin
    source: str


class Piece(NamedTuple):
    """A price over a time. `content`: the price itself, or the stored version whose items it has."""

    effective_from: datetime
    effective_to: datetime | None
    origin: Origin
    digest: str
    content: DatedPrice | UUID


class Changes(NamedTuple):
    """To be written in this order. `drops`: versions that were never in force. `ends`: version → its new
    `effective_to`, those that become shorter first."""

    drops: list[UUID]
    supersedes: list[UUID]
    ends: dict[UUID, datetime | None]
    adds: list[Piece]


def wanted_pieces(history: Iterable[DatedPrice], origin: Origin) -> list[Piece]:
    return [Piece(price.effective_from, price.effective_to, origin, digest(price.points), price) for price in history]


def stored_pieces(stored: Iterable[Stored]) -> list[Piece]:
    return [Piece(v.effective_from, v.effective_to, v.origin, v.digest, v.id) for v in stored]


def overlay(base: Sequence[Piece], over: Sequence[Piece]) -> list[Piece]:
    """`over`, and `base` where it leaves room. By time."""
    over = sorted(over, key=_start)
    pieces = list(over)
    for piece in base:
        rest: Piece | None = piece
        for top in over:
            if rest is None or not overlaps(top, rest.effective_from, rest.effective_to):
                continue
            if top.effective_from > rest.effective_from:
                pieces.append(rest._replace(effective_to=top.effective_from))
            end = top.effective_to
            rest = None if end is None or not _ends_after(rest.effective_to, end) else rest._replace(effective_from=end)
        if rest is not None:
            pieces.append(rest)
    return sorted(pieces, key=_start)


def price_changes(
    stored: Sequence[Stored], wanted: Sequence[Piece], now: datetime, *, since: datetime | None = None
) -> Changes:
    """`wanted`: without overlaps. `since`: from when on, default now; it may lie in the past or be still to come."""
    moment = DAWN if not stored else now if since is None else since
    left = [
        piece._replace(effective_from=max(piece.effective_from, moment))
        for piece in sorted(wanted, key=_start) if _ends_after(piece.effective_to, moment)
    ]
    changes = Changes([], [], {}, [])
    longer: dict[UUID, datetime | None] = {}
    begun = any(v.effective_from == moment and _continues(v, piece, moment) for v in stored for piece in left)
    for version in sorted(stored, key=lambda version: version.effective_from):
        is_over = not _ends_after(version.effective_to, moment)
        if is_over and (version.effective_to != moment or begun):  # one that ends just then may go on, if none begins
            continue
        piece = next((piece for piece in left if _continues(version, piece, moment)), None)
        if is_over and piece is None:
            continue
        if piece is not None:
            left.remove(piece)
            if piece.effective_to != version.effective_to:
                shorter = _ends_after(version.effective_to, piece.effective_to)
                (changes.ends if shorter else longer)[version.id] = piece.effective_to
        elif version.effective_from < moment:
            changes.ends[version.id] = moment
        elif version.effective_from > now:
            changes.drops.append(version.id)
        else:
            changes.supersedes.append(version.id)
    changes.ends.update(longer)
    changes.adds.extend(left)
    return changes


def first_difference(stored: Sequence[Stored], wanted: Sequence[Piece], dated: datetime | None, now: datetime) -> datetime:
    """The first moment from `dated` until now at which another price is wanted than is stored; now, where there is none.

    `dated`: the first change whose day the wanted history knows. Of a change without a day nobody can say since when.
    """
    if dated is None or dated >= now:
        return now
    have = stored_pieces(stored)
    edges = {piece.effective_from for piece in (*have, *wanted)} | {piece.effective_to for piece in (*have, *wanted)}
    for moment in sorted({dated} | {edge for edge in edges if edge is not None and dated < edge < now}):
        if _price_at(have, moment) != _price_at(wanted, moment):
            return moment
    return now


def overlaps(piece: Piece | Stored, start: datetime, end: datetime | None) -> bool:
    return _ends_after(piece.effective_to, start) and (end is None or piece.effective_from < end)


def _continues(version: Stored, piece: Piece, moment: datetime) -> bool:
    """The piece is this version, perhaps with another end."""
    begins = version.effective_from if version.effective_from > moment else moment
    if piece.effective_from != begins:
        return False
    if isinstance(piece.content, UUID):
        return piece.content == version.id
    return (_kind(piece.origin), piece.digest) == (_kind(version.origin), version.digest)


def _kind(origin: Origin) -> str:
    """A list price is the same list price, whether it shipped or was imported."""
    return "list" if origin in ("book", "import") else origin


def _price_at(pieces: Sequence[Piece], moment: datetime) -> tuple[str, str] | None:
    found = next((p for p in pieces if p.effective_from <= moment and _ends_after(p.effective_to, moment)), None)
    return None if found is None else (_kind(found.origin), found.digest)


def _start(piece: Piece) -> datetime:
    return piece.effective_from


def _ends_after(end: datetime | None, moment: datetime | None) -> bool:
    return end is None or (moment is not None and end > moment)
