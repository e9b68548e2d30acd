"""A week ahead, made again and again."""

from __future__ import annotations

from datetime import date, timedelta

from proxy.ledger.partitions import store
from proxy.worker.partitions import PartitionsLoop, utc_today

TODAY = date(2031, 12, 30)


async def days_of(pool) -> set[date]:
    async with pool.acquire() as conn:
        return await store.existing(conn)


async def test_yesterday_to_a_week_ahead(pool):
    wanted = {TODAY + timedelta(days=number) for number in range(-1, 8)}
    loop = PartitionsLoop(pool, today=lambda: TODAY)
    assert await loop.ensure() == wanted
    assert await days_of(pool) >= wanted


async def test_the_loop_goes_on_after_failures(pool, run, until, caplog):
    await pool.execute("ALTER TABLE usage_events RENAME TO away")
    run(PartitionsLoop(pool, every_s=0.02, retry_s=0.02))

    async def failed() -> bool:
        return "trying again" in caplog.text

    await until(failed)
    await pool.execute("ALTER TABLE away RENAME TO usage_events")

    async def a_week() -> bool:
        return utc_today() + timedelta(days=7) in await days_of(pool)

    await until(a_week)
