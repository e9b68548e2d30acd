"""Custom prices: put over a time, also one that is over, and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pricing.book import DatedPrice
from pricing.price_text import PricePoint, digest
from proxy.catalog.plan import PriceBook
from proxy.catalog.price_changes import Stored, overlaps, overlay, price_changes, stored_pieces, wanted_pieces
from proxy.catalog.prices import store
from proxy.catalog.prices.steps import Step, steps_of
from proxy.catalog.prices.store import PricedRoute
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused


class Done(NamedTuple):
    """`version_id`: the custom version, where one was set or was already there."""

    version_id: UUID | None
    steps: list[Step]


async def set_price(
    db: Connection, route: PricedRoute, points: tuple[PricePoint, ...], *, since: datetime | None,
    until: datetime | None, note: str,
) -> Done:
    """From `since` (None: now) until `until`, in place of whatever held there. In the caller's transaction."""
    now = await store.lock(db)
    start = now if since is None else since
    if until is not None and until <= start:
        raise Refused(Reason.BAD_VALUE, "The end must be later than the start.", param="effective_to")
    stored = (await store.live_versions(db, [route.id])).get(route.id, [])
    _refuse_over_config(route, stored, start, until, now)
    source = f"custom ({note})" if note else "custom"
    wanted = wanted_pieces([DatedPrice(start, until, source, digest(points), points)], "custom")
    changes = price_changes(stored, overlay(stored_pieces(stored), wanted), now, since=start)
    steps = await steps_of(db, route, stored, changes)
    added = await store.apply(db, route.id, changes, now)
    ids = {piece.origin: id for piece, id in zip(changes.adds, added, strict=True) if piece.effective_from == start}
    return Done(ids.get("custom") or _standing(stored, start), steps)


async def unset_price(db: Connection, route: PricedRoute, *, since: datetime | None, find: PriceBook) -> Done:
    """No custom price from `since` (None: now) on: the price book's, or none. In the caller's transaction."""
    now = await store.lock(db)
    start = now if since is None else since
    stored = (await store.live_versions(db, [route.id])).get(route.id, [])
    custom = [version for version in stored if version.origin == "custom" and overlaps(version, start, None)]
    if not custom:
        raise Refused(
            Reason.NOT_FOUND, f"{route.llm} at {route.provider} has no custom price then. GET /api/v1/prices lists them."
        )
    start = max(start, min(version.effective_from for version in custom))
    others = [v for v in stored if v.origin == "config"]
    book = wanted_pieces(find(route.provider, route.upstream_model), "book")
    changes = price_changes(stored, overlay(book, stored_pieces(others)), now, since=start)
    steps = await steps_of(db, route, stored, changes)
    await store.apply(db, route.id, changes, now)
    return Done(None, steps)


def _standing(stored: Sequence[Stored], start: datetime) -> UUID | None:
    """The same price was there before: the version that has it."""
    return next((v.id for v in stored if v.origin == "custom" and overlaps(v, start, None)), None)


def _refuse_over_config(
    route: PricedRoute, stored: Sequence[Stored], start: datetime, until: datetime | None, now: datetime
) -> None:
    """config.yaml would take over again at the next start. A time that is over it leaves alone."""
    if until is not None and until <= now:
        return
    if any(version.origin == "config" and overlaps(version, max(start, now), until) for version in stored):
        raise Refused(
            Reason.CONFIG_MANAGED,
            f"config.yaml names the price of {route.llm} at {route.provider}: change it there, or take it out first. "
            "A time that is over can be priced here: give it an end.",
        )
