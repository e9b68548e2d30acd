"""List prices of another edition of the price book, for the routes that exist."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pricing.book import DAWN
from proxy.catalog.plan import PriceBook
from proxy.catalog.price_changes import first_difference, overlaps, overlay, price_changes, stored_pieces, wanted_pieces
from proxy.catalog.prices import store
from proxy.catalog.prices.steps import Step, steps_of
from proxy.storage.postgres import Connection


class Imported(NamedTuple):
    """`routes`: how many are changed, unchanged, unknown (to that book), priced by config."""

    steps: list[Step]
    routes: Counter[str]


async def import_prices(db: Connection, find: PriceBook, *, dry_run: bool) -> Imported:
    """In the caller's transaction. Repeated, it changes nothing.

    A change of which that book knows the day holds from that day on, also where it is past: `rerate` then corrects what
    was charged. One without a day holds from now on. Custom prices and config.yaml's keep their times.
    """
    now = await store.lock(db)
    routes = await store.routes(db)
    live = await store.live_versions(db, [route.id for route in routes])
    imported = Imported([], Counter(changed=0, unchanged=0, unknown=0, config=0))
    for route in routes:
        stored = live.get(route.id, [])
        if any(version.origin == "config" and overlaps(version, now, None) for version in stored):
            imported.routes["config"] += 1
            continue
        history = find(route.provider, route.upstream_model)
        if not history:
            imported.routes["unknown"] += 1
            continue
        kept = stored_pieces(version for version in stored if version.origin in ("config", "custom"))
        wanted = overlay(wanted_pieces(history, "import"), kept)
        dated = next((price.effective_from for price in history if price.effective_from > DAWN), None)
        changes = price_changes(stored, wanted, now, since=first_difference(stored, wanted, dated, now))
        imported.routes["changed" if any(changes) else "unchanged"] += 1
        if any(changes):
            imported.steps.extend(await steps_of(db, route, stored, changes))
            if not dry_run:
                await store.apply(db, route.id, changes, now)
    return imported
