"""Another edition of the price book on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pricing.book import DAWN
from proxy.catalog.plan import PriceBook
from proxy.catalog.prices import custom, imports
from proxy.catalog.prices.imports import Imported
from tests.proxy.catalog.prices.conftest import BOOK, House, edition, plan, points

DAY = timedelta(days=1)
T = datetime.now(UTC).replace(microsecond=0)


async def take(house: House, find: PriceBook, *, dry_run: bool = False) -> Imported:
    async with house.pool.acquire() as db, db.transaction():
        return await imports.import_prices(db, find, dry_run=dry_run)


NEWER = edition("2", x=[(None, "5")], y=[(None, "2")])


async def test_a_new_price_holds_from_now_on_and_a_repetition_changes_nothing(house: House) -> None:
    before = datetime.now(UTC)
    told = await take(house, NEWER, dry_run=True)
    assert not await house.sync()  # nothing was written
    done = await take(house, NEWER)
    assert [step[1:5:2] for step in done.steps] == [step[1:5:2] for step in told.steps]
    assert dict(done.routes) == {"changed": 1, "unchanged": 1, "unknown": 1, "config": 0}
    assert (await house.usd(before), await house.usd(datetime.now(UTC))) == (1_000_000, 5_000_000)
    assert await house.versions() == [("book", "test 1", False), ("import", "test 2", False)]
    again = await take(house, NEWER)
    assert not again.steps and again.routes["unchanged"] == 2


async def test_a_start_with_an_older_book_keeps_it_and_a_newer_one_takes_over(house: House) -> None:
    await take(house, NEWER)
    assert not await house.sync()
    assert await house.sync(find=edition("3", x=[(None, "7")], y=[(None, "2")], z=[(None, "3")]))
    assert await house.usd(datetime.now(UTC)) == 7_000_000


async def test_a_change_with_a_day_holds_from_that_day_on(house: House) -> None:
    done = await take(house, edition("2", x=[(None, "1"), (T - 3 * DAY, "5"), (T + 3 * DAY, "4")]))
    assert [(step.action, step.effective_from) for step in done.steps] == [
        ("ended", DAWN), ("added", T - 3 * DAY), ("added", T + 3 * DAY)]
    assert [await house.usd(T + days * DAY) for days in (-4, -3, 2, 3)] == [1_000_000, 5_000_000, 5_000_000, 4_000_000]


async def test_what_was_taken_over_late_is_dated_back_and_its_items_stay(house: House) -> None:
    await take(house, edition("2", x=[(None, "5")]))
    await take(house, edition("3", x=[(None, "1"), (T - 3 * DAY, "5")]))
    assert [await house.usd(T + days * DAY) for days in (-4, -3, 0)] == [1_000_000, 5_000_000, 5_000_000]
    assert await house.versions() == [
        ("book", "test 1", False), ("import", "test 3", False), ("import", "test 2", True)]


async def test_a_past_that_the_source_does_not_date_is_left_alone(house: House) -> None:
    await take(house, edition("2", x=[(None, "8"), (T - 3 * DAY, "1")]))
    assert await house.usd(T - 5 * DAY) == 1_000_000


async def test_custom_and_config_keep_their_times(house: House) -> None:
    route = await house.route()
    async with house.pool.acquire() as db, db.transaction():
        await custom.set_price(db, route, points("9"), since=T - 2 * DAY, until=T + DAY, note="")
    await house.sync(CONFIGURED_N)
    done = await take(house, edition("2", x=[(None, "1"), (T - 3 * DAY, "5")], z=[(None, "6")]))
    assert done.routes["config"] == 1
    assert [await house.usd(T + days * DAY) for days in (-4, -3, -2, 0, 1)] == [
        1_000_000, 5_000_000, 9_000_000, 9_000_000, 5_000_000]
    assert await house.usd(datetime.now(UTC), "n") == 4_000_000
    assert not await house.sync(CONFIGURED_N, BOOK)


_N = plan().llms[1]
CONFIGURED_N = type(plan())(
    plan().providers, (plan().llms[0], type(_N)("n", 1, 1, (type(_N.routes[0])("openai", "z", {"input": "4"}),)))
)


async def test_a_price_for_what_had_none(house: House) -> None:
    await house.sync(find=lambda provider, model: ())
    assert await house.usd(datetime.now(UTC)) is None
    await house.pool.execute("DELETE FROM price_items")
    await house.pool.execute("DELETE FROM price_versions")
    await take(house, edition("2", x=[(None, "1"), (T - DAY, "5")]))
    assert [await house.usd(T + days * DAY) for days in (-2, 0)] == [1_000_000, 5_000_000]
