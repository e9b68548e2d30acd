"""What a change of prices does, version by version, with the prices as they are: for answers, the audit log and `diff`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from pricing.price_text import PricePoint
from proxy.catalog.price_changes import Changes, Origin, Stored
from proxy.catalog.prices import store
from proxy.catalog.prices.store import PricedRoute
from proxy.storage.postgres import Connection

# ended, extended: it has another end. superseded: its whole time is priced otherwise. dropped: it was still to come.
Action = Literal["added", "ended", "extended", "superseded", "dropped"]


class Step(NamedTuple):
    """`version_id`: None for one that is added. The times are those after the change."""

    route: PricedRoute
    action: Action
    version_id: UUID | None
    origin: Origin
    source: str
    effective_from: datetime
    effective_to: datetime | None
    points: Sequence[PricePoint]


async def steps_of(db: Connection, route: PricedRoute, stored: Sequence[Stored], changes: Changes) -> list[Step]:
    """To be asked before the changes are made. By time."""
    versions = {version.id: version for version in stored}
    found: list[Step] = []
    for action, ids in (("dropped", changes.drops), ("superseded", changes.supersedes)):
        found += [await _old(db, route, action, versions[id], versions[id].effective_to) for id in ids]  # type: ignore[arg-type]
    for id, end in changes.ends.items():
        old_end = versions[id].effective_to
        is_shorter = old_end is None or (end is not None and end < old_end)
        found.append(await _old(db, route, "ended" if is_shorter else "extended", versions[id], end))
    for piece in changes.adds:
        if isinstance(piece.content, UUID):
            source, points = versions[piece.content].source, await store.points_of(db, piece.content)
        else:
            source, points = piece.content.source, piece.content.points
        found.append(
            Step(route, "added", None, piece.origin, source, piece.effective_from, piece.effective_to, points)
        )
    return sorted(found, key=lambda step: (step.effective_from, step.action))


async def _old(db: Connection, route: PricedRoute, action: Action, version: Stored, end: datetime | None) -> Step:
    points = await store.points_of(db, version.id)
    return Step(route, action, version.id, version.origin, version.source, version.effective_from, end, points)


def counted(steps: Iterable[Step]) -> dict[str, int]:
    """For the audit log."""
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.action] = counts.get(step.action, 0) + 1
    return counts
