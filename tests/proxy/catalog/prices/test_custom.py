"""Custom prices on a real database: the constraint refuses what the code would get wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.catalog.prices import custom, store
from proxy.wire.refusals import Reason, Refused
from tests.proxy.catalog.prices.conftest import BOOK, House, edition, plan, points

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


async def put(house: House, usd: str, since: datetime | None = None, until: datetime | None = None, **where: Any) -> Any:
    route = await house.route(**where)
    async with house.pool.acquire() as db, db.transaction():
        return await custom.set_price(db, route, points(usd), since=since, until=until, note="deal")


async def unset(house: House, since: datetime | None = None, find: Any = BOOK) -> Any:
    route = await house.route()
    async with house.pool.acquire() as db, db.transaction():
        return await custom.unset_price(db, route, since=since, find=find)


async def test_from_now_on(house: House) -> None:
    before = now()
    done = await put(house, "9")
    assert [(step.action, step.origin) for step in done.steps] == [("ended", "book"), ("added", "custom")]
    assert (await house.usd(before), await house.usd(now())) == (1_000_000, 9_000_000)
    assert await house.usd(now(), route=1) == 2_000_000  # the other provider keeps its price
    assert await house.versions() == [("book", "test 1", False), ("custom", "custom (deal)", False)]


async def test_a_start_leaves_a_custom_price_alone_and_follows_the_book_around_it(house: House) -> None:
    t = now()
    await put(house, "9", t - 3 * DAY, t + DAY)
    assert not await house.sync()
    newer = edition("2", x=[(None, "5")], y=[(None, "2")], z=[(None, "3")])
    assert await house.sync(find=newer)
    assert [await house.usd(t + days * DAY) for days in (-4, -3, 0, 1, 9)] == [
        1_000_000, 9_000_000, 9_000_000, 5_000_000, 5_000_000]
    assert not await house.sync(find=newer)


async def test_a_past_price_is_repaired_and_its_items_stay(house: House) -> None:
    t = now()
    await put(house, "8", t - 9 * DAY)
    items = await house.pool.fetchval("SELECT count(*) FROM price_items")
    await put(house, "9", t - 30 * DAY, t - DAY)
    assert [await house.usd(t - days * DAY - DAY / 2) for days in (1, 0)] == [9_000_000, 8_000_000]
    assert ("custom", "custom (deal)", True) in await house.versions()
    assert await house.pool.fetchval("SELECT count(*) FROM price_items") == items + 2  # the new one, the rest of the old one


async def test_config_wins(house: House) -> None:
    await put(house, "9")
    await house.sync(plan({"input": "4"}))
    assert await house.usd(now()) == 4_000_000
    for since, until in ((None, None), (now() + DAY, None), (now() - DAY, now() + DAY)):
        with pytest.raises(Refused) as caught:
            await put(house, "7", since, until)
        assert caught.value.reason is Reason.CONFIG_MANAGED
    t = now()
    await put(house, "7", t - DAY, t - DAY / 2)
    assert await house.usd(t - DAY * 3 / 4) == 7_000_000
    assert not await house.sync(plan({"input": "4"}))
    await house.sync(plan())  # taken out of the file again: the book, not the custom price of before
    assert await house.usd(now()) == 1_000_000


async def test_a_time_that_is_over_is_repaired_where_config_has_always_named_the_price(house: House) -> None:
    await house.pool.execute("DELETE FROM price_items")
    await house.pool.execute("DELETE FROM price_versions")
    await house.sync(plan({"input": "4"}))
    t = now()
    await put(house, "7", t - 2 * DAY, t - DAY)
    assert [await house.usd(t - days * DAY) for days in (3, 2, 1, 0)] == [4_000_000, 7_000_000, 4_000_000, 4_000_000]
    assert not await house.sync(plan({"input": "4"}))


async def test_taken_back_the_book_holds_again(house: House) -> None:
    t = now()
    await put(house, "9", t - 3 * DAY)
    await unset(house, t - DAY)
    assert [await house.usd(t - days * DAY - DAY / 2) for days in (1, 0)] == [9_000_000, 1_000_000]
    assert not await house.sync()
    with pytest.raises(Refused) as caught:
        await unset(house)
    assert caught.value.reason is Reason.NOT_FOUND
    await put(house, "9")
    await unset(house, find=lambda provider, model: ())
    assert await house.usd(now()) is None  # the book does not know it: unknown, not zero


async def test_one_that_is_still_to_come_is_taken_back_as_if_it_had_never_been(house: House) -> None:
    await put(house, "9", now() + DAY)
    done = await unset(house)
    assert [step.action for step in done.steps] == ["extended", "dropped"]
    assert await house.versions() == [("book", "test 1", False)]


async def test_an_end_before_the_start_is_refused(house: House) -> None:
    t = now()
    with pytest.raises(Refused) as caught:
        await put(house, "9", t, t)
    assert caught.value.param == "effective_to"


async def test_two_at_once_wait_for_each_other(house: House) -> None:
    t = now()
    async with house.pool.acquire() as db, db.transaction():
        await store.lock(db)
        waiting = [asyncio.create_task(put(house, str(usd), t)) for usd in (5, 6, 7)]
        waiting.append(asyncio.create_task(house.sync(plan({"input": "4"}))))
        done, _ = await asyncio.wait(waiting, timeout=0.5)
        assert not done
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert not isinstance(each, BaseException) or isinstance(each, Refused)  # config came first
    assert len([v for v in await house.versions(replaced=False) if v[0] == "custom"]) <= 1


async def test_the_database_refuses_two_prices_at_once(house: House) -> None:
    with pytest.raises(asyncpg.ExclusionViolationError):
        await house.pool.execute(
            "INSERT INTO price_versions (id, route_id, effective_from, source, digest)"
            " SELECT gen_random_uuid(), route_id, now(), 's', '' FROM price_versions LIMIT 1"
        )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 6) | st.none(), st.integers(4, 9)), min_size=1, max_size=5))
async def test_whatever_is_put_where_the_gateway_rates_by_it(
    house: House, spans: list[tuple[int, int | None, int]]
) -> None:
    """Against the constraint of the real table, and through the snapshot that rates."""
    base = now().replace(microsecond=0)
    noons = [base + day * DAY + DAY / 2 for day in range(-6, 13)]
    expected = [await house.usd(noon) for noon in noons]
    for start, length, usd in spans:
        since, until = base + start * DAY, None if length is None else base + (start + length) * DAY
        await put(house, str(usd), since, until)
        expected = [usd * 1_000_000 if since <= noon and (until is None or noon < until) else old
                    for noon, old in zip(noons, expected, strict=True)]  # fmt: skip
    assert [await house.usd(noon) for noon in noons] == expected
    assert not await house.sync()  # a start changes nothing of it


async def test_lists_by_llm_provider_and_moment(house: House) -> None:
    t = now()
    await put(house, "9", t - DAY)
    await put(house, "8", t - 2 * DAY)
    async with house.pool.acquire() as db:
        page = store.Page(limit=100)
        everything = await store.list_versions(db, store.VersionFilter(replaced=True), page)
        live = await store.list_versions(db, store.VersionFilter(llm="m", provider="openai"), page)
        at = await store.list_versions(db, store.VersionFilter(at=t - DAY), page)
    assert len(everything) == 5 and [row.items[0].point for row in live] == [*points("8"), *points("1")]
    assert sorted((row.llm, row.provider, row.origin) for row in at) == [
        ("m", "groq", "book"), ("m", "openai", "custom"), ("n", "openai", "book")]
