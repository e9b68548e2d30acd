"""A ledger with something of every kind in it, priced again: at the same prices nothing changes, at others all of it agrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxy.ledger.check.verify import verify
from proxy.ledger.corrections.rerate import Rerated, Wanted, rerate
from proxy.storage.postgres import Connection, connect
from tests.populated import ledger_url as ledger_url
from tests.proxy.ledger.corrections.conftest import AUTHOR, new_id

# Every version in force ends, and its successor for the same time costs twice as much and one pico.
DEARER = """
WITH ended AS (
    UPDATE price_versions SET superseded_at = now() WHERE superseded_at IS NULL RETURNING *
), made AS (
    SELECT gen_random_uuid() AS made_id, ended.* FROM ended
), versions AS (
    INSERT INTO price_versions (id, route_id, effective_from, effective_to, source, digest, origin)
    SELECT made_id, route_id, effective_from, effective_to, 'test', digest, 'custom' FROM made
)
INSERT INTO price_items (id, version_id, unit, price_pusd, per_units, service_tier, above_input_tokens, variant, processing,
                         from_minute, to_minute, minimum_units)
SELECT gen_random_uuid(), made_id, i.unit, 2 * i.price_pusd + 1, i.per_units, i.service_tier, i.above_input_tokens,
       i.variant, i.processing, i.from_minute, i.to_minute, i.minimum_units
FROM made JOIN price_items i ON i.version_id = made.id
"""


async def everything(db: Connection) -> Rerated:
    """As of a time when nothing abandoned is young any more."""
    now = datetime.now(UTC)
    total, place = Rerated(), None
    while True:
        wanted = Wanted(now - timedelta(days=90), now + timedelta(days=1), place=place, limit=50)
        async with db.transaction():
            done = await rerate(db, wanted, AUTHOR, dry_run=False, now=now + timedelta(days=9), new_id=new_id)
        total.examined += done.examined
        total.changed += done.changed
        total.list_pusd += done.list_pusd
        place = done.place
        if place is None:
            return total


async def differences(db: Connection) -> dict[str, object]:
    return {found.check.name: found.examples async for found in verify(db) if found.differences}


async def test_a_whole_ledger_priced_again(ledger_url: str) -> None:
    db = await connect(ledger_url, application_name="tests")
    try:
        assert await differences(db) == {}
        made_up = await db.fetchval("SELECT count(DISTINCT attempt_id) FROM usage_corrections")
        same = await everything(db)
        assert same.examined > 50
        # Nothing but what the fixture corrected to figures of its own.
        assert same.changed <= made_up == await db.fetchval("SELECT count(DISTINCT attempt_id) FROM usage_corrections")
        assert await differences(db) == {}
        assert (await everything(db)).changed == 0
        await db.execute(DEARER)
        dearer = await everything(db)
        assert dearer.changed > 50 and dearer.list_pusd > 0
        assert await differences(db) == {}
        assert (await everything(db)).changed == 0
    finally:
        await db.close()
