from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pricing import book
from pricing.book import DAWN, DatedPrice
from pricing.price import PriceItem, Unpriced
from pricing.price_text import read_price
from pricing.rate import in_force, rate
from pricing.units import UNITS
from pricing.usage import Usage
from proxy.catalog import store
from proxy.catalog.plan import CatalogPlan, LlmPlan, ProviderPlan, RoutePlan
from proxy.catalog.route import Route
from proxy.epochs import store as epochs
from proxy.storage.postgres import Pool
from proxy.wire.ids import NIL

OPENAI = ProviderPlan("openai", "openai", "https://api.openai.com/v1")
GROQ = ProviderPlan("groq", "openai", "https://api.groq.com/openai/v1", "unasked", "groq")
MINI = LlmPlan("gpt-4o-mini", 128_000, 16_384, (RoutePlan("openai", "gpt-4o-mini"),))
PRICED = RoutePlan("groq", "mine", {"input": "1", "output": "2"})
OWN = LlmPlan("own", None, None, (PRICED, RoutePlan("openai", "theirs")))
PLAN = CatalogPlan((OPENAI, GROQ), (MINI, OWN))


def now() -> datetime:
    return datetime.now(UTC)


def with_price(price: dict[str, object] | None) -> CatalogPlan:
    return CatalogPlan((OPENAI,), (LlmPlan("m", 1, 1, (RoutePlan("openai", "x", price),)),))


async def global_epoch(pool: Pool) -> int:
    async with pool.acquire() as conn:
        return (await epochs.read(conn, [NIL]))[NIL]


async def synced(pool: Pool, plan: CatalogPlan, find: store.PriceBook = book.find) -> bool:
    async with pool.acquire() as conn:
        return await store.sync(conn, plan, find=find)


async def the_route(pool: Pool, name: str = "m") -> Route:
    async with pool.acquire() as conn:
        llm = (await store.load(conn)).find(name)
    assert llm is not None
    return llm.routes[0]


async def test_what_the_file_says_is_what_the_gateway_sees(pool: Pool) -> None:
    before = await global_epoch(pool)
    assert await synced(pool, PLAN)
    async with pool.acquire() as conn:
        catalog = await store.load(conn)
    assert catalog.epoch == before + 1
    assert set(catalog.llms) == {"gpt-4o-mini", "own"}
    mini, own = catalog.llms["gpt-4o-mini"], catalog.llms["own"]
    assert (mini.context_window, mini.max_output) == (128_000, 16_384)
    assert (own.context_window, own.max_output) == (None, None)
    assert abs(mini.created_at_s - now().timestamp()) < 3600
    assert [(r.provider.name, r.upstream_model) for r in own.routes] == [("groq", "mine"), ("openai", "theirs")]
    groq = own.routes[0].provider
    assert (groq.dialect, groq.base_url, groq.stream_usage, groq.usage_reader) == (
        "openai", "https://api.groq.com/openai/v1", "unasked", "groq")
    usage = Usage({"input": 10, "cache_read": 10, "output": 1})
    assert rate(usage, in_force(mini.routes[0].prices, now())).list_pusd == 10 * 150_000 + 10 * 75_000 + 600_000
    assert rate(usage, in_force(own.routes[0].prices, now())).list_pusd == 20 * 1_000_000 + 2_000_000
    assert isinstance(in_force(own.routes[1].prices, now()), Unpriced)


async def test_the_same_file_again_changes_nothing(pool: Pool) -> None:
    await synced(pool, PLAN)
    epoch = await global_epoch(pool)
    assert not await synced(pool, PLAN)
    assert not await synced(pool, CatalogPlan(PLAN.providers[::-1], PLAN.llms[::-1]))
    assert await global_epoch(pool) == epoch


async def test_two_processes_that_start_together(pool: Pool) -> None:
    results = await asyncio.gather(*(synced(pool, PLAN) for _ in range(4)))
    assert sorted(results) == [False, False, False, True]


async def test_two_processes_that_find_a_new_price_write_it_once(pool: Pool) -> None:
    await synced(pool, with_price({"input": "1"}))
    results = await asyncio.gather(*(synced(pool, with_price({"input": "2"})) for _ in range(4)))
    assert sorted(results) == [False, False, False, True]
    assert len((await the_route(pool)).prices) == 2


async def test_the_units_are_mirrored(pool: Pool) -> None:
    await synced(pool, PLAN)
    rows = await pool.fetch("SELECT name, kind, description FROM units")
    assert {row["name"]: (row["kind"], row["description"]) for row in rows} == {
        unit.name: (unit.kind, unit.description) for unit in UNITS.values()}


async def test_what_leaves_the_file_is_removed_not_deleted_and_may_return(pool: Pool) -> None:
    await synced(pool, PLAN)
    first = await the_route(pool, "gpt-4o-mini")
    assert await synced(pool, CatalogPlan((GROQ,), (replace(OWN, routes=OWN.routes[:1]),)))
    async with pool.acquire() as conn:
        catalog = await store.load(conn)
    assert set(catalog.llms) == {"own"}
    assert [route.upstream_model for route in catalog.llms["own"].routes] == ["mine"]
    assert await pool.fetchval("SELECT status FROM llms WHERE name = 'gpt-4o-mini'") == "removed"
    assert await pool.fetchval("SELECT status FROM providers WHERE name = 'openai'") == "removed"
    await synced(pool, PLAN)
    again = await the_route(pool, "gpt-4o-mini")
    assert again == first  # the same rows, prices included


async def test_order_and_fields_follow_the_file(pool: Pool) -> None:
    await synced(pool, PLAN)
    moved = CatalogPlan((replace(OPENAI, base_url="https://eu.api.openai.com/v1"), GROQ),
                        (replace(MINI, max_output=99), replace(OWN, routes=OWN.routes[::-1])))
    assert await synced(pool, moved)
    async with pool.acquire() as conn:
        catalog = await store.load(conn)
    assert catalog.llms["gpt-4o-mini"].max_output == 99
    assert [route.upstream_model for route in catalog.llms["own"].routes] == ["theirs", "mine"]
    assert catalog.llms["own"].routes[0].provider.base_url == "https://eu.api.openai.com/v1"


async def test_rows_of_the_api_are_left_alone(pool: Pool) -> None:
    await synced(pool, PLAN)
    await pool.execute("INSERT INTO llms (id, name, managed_by) VALUES (gen_random_uuid(), 'by-api', 'api')")
    await pool.execute("INSERT INTO routes SELECT gen_random_uuid(), l.id, p.id, 'm', 0 FROM llms l, providers p"
                       " WHERE l.name = 'by-api' AND p.name = 'groq'")
    assert not await synced(pool, PLAN)
    assert (await the_route(pool, "by-api")).upstream_model == "m"


async def test_a_changed_price_ends_the_old_one_which_events_still_name(pool: Pool) -> None:
    await synced(pool, with_price({"input": "1"}))
    old = in_force((await the_route(pool)).prices, now())
    assert not await synced(pool, with_price({"input": "1.000"}))
    start = now()
    assert await synced(pool, with_price({"input": "2"}))
    prices = (await the_route(pool)).prices
    assert len(prices) == 2
    new = in_force(prices, now())
    assert not isinstance(old, Unpriced)
    assert not isinstance(new, Unpriced)
    assert (old.effective_from, new.effective_to) == (DAWN, None)
    assert prices == (new, replace(old, effective_to=new.effective_from))  # newest first
    assert start <= new.effective_from <= now()
    assert isinstance(in_force(prices, start), type(old))


async def test_a_price_taken_out_of_the_file_is_unknown_from_then_on(pool: Pool) -> None:
    await synced(pool, with_price({"input": "1"}))
    before = now()
    assert await synced(pool, with_price(None))
    prices = (await the_route(pool)).prices
    assert isinstance(in_force(prices, now()), Unpriced)
    assert not isinstance(in_force(prices, before), Unpriced)
    assert not await synced(pool, with_price(None))


async def test_dated_prices_of_the_book_keep_their_dates(pool: Pool) -> None:
    day = timedelta(days=1)
    soon = (now() + day).replace(microsecond=0)
    recent = soon - 3 * day

    def dated(*history: tuple[datetime, datetime | None, str]) -> store.PriceBook:
        prices = tuple(DatedPrice(a, b, "book", "rev", read_price({"input": text})) for a, b, text in history)
        return lambda provider, model: prices if (provider, model) == ("openai", "x") else ()

    first = dated((DAWN, recent, "3"), (recent, soon, "2"), (soon, None, "1"))
    assert await synced(pool, with_price(None), first)
    assert not await synced(pool, with_price(None), first)
    prices = (await the_route(pool)).prices
    one = Usage({"input": 1})
    assert [rate(one, in_force(prices, moment)).list_pusd for moment in (recent - day, now(), soon)] == [
        3_000_000, 2_000_000, 1_000_000]

    assert await synced(pool, with_price(None), dated((DAWN, recent, "3"), (recent, None, "2")))  # called off
    prices = (await the_route(pool)).prices
    assert rate(one, in_force(prices, soon + day)).list_pusd == 2_000_000
    assert await pool.fetchval("SELECT count(*) FROM price_versions") == 2
    assert set(await pool.fetch("SELECT DISTINCT source, source_revision FROM price_versions")) == {("book", "rev")}


async def test_tiers_cliffs_and_fractions_survive(pool: Pool) -> None:
    price: dict[str, object] = {
        "input": "0.0000005", "audio_ms": "0.04/3600000", "above": {"200000": {"input": "3"}},
        "tiers": {"flex": {"input": "0.25"}},
    }
    await synced(pool, with_price(price))
    version = in_force((await the_route(pool)).prices, now())
    assert not isinstance(version, Unpriced)
    assert version.source == "config"

    def bare(item: PriceItem) -> tuple[object, ...]:
        return item.unit, item.price_pusd, item.per_units, item.service_tier, item.above_input_tokens

    assert sorted(map(bare, version.items)) == [tuple(point)[:5] for point in read_price(price)]


async def test_versions_long_over_are_not_loaded(pool: Pool) -> None:
    await synced(pool, CatalogPlan((OPENAI,), (LlmPlan("m", 1, 1, (RoutePlan("openai", "o3"),)),)))
    stored = await pool.fetchval("SELECT count(*) FROM price_versions")
    assert len((await the_route(pool)).prices) == 1 < stored


async def test_a_failed_sync_leaves_nothing_behind(pool: Pool) -> None:
    def broken(provider: str, model: str) -> tuple[DatedPrice, ...]:
        raise LookupError(model)

    epoch = await global_epoch(pool)
    try:
        await synced(pool, PLAN, broken)
    except LookupError:
        pass
    else:
        raise AssertionError("the error was swallowed")
    assert await global_epoch(pool) == epoch
    assert await pool.fetchval("SELECT count(*) FROM llms") == 0


async def test_an_empty_file_is_an_empty_catalog(pool: Pool) -> None:
    await synced(pool, PLAN)
    assert await synced(pool, CatalogPlan((), ()))
    async with pool.acquire() as conn:
        assert (await store.load(conn)).llms == {}


async def test_an_llm_may_refuse_while_it_has_no_price(pool: Pool) -> None:
    await synced(pool, PLAN)
    strict = CatalogPlan(PLAN.providers, (replace(MINI, unpriced="reject"), OWN))
    assert await synced(pool, strict)
    assert not await synced(pool, strict)
    async with pool.acquire() as conn:
        llms = (await store.load(conn)).llms
    assert {name: llm.unpriced for name, llm in llms.items()} == {"gpt-4o-mini": "reject", "own": "allow"}


async def test_config_takes_over_even_at_the_books_price(pool: Pool) -> None:
    """Otherwise a custom price could be put over what the file names."""
    await synced(pool, with_price(None), lambda provider, model: (DatedPrice(DAWN, None, "b 1", "", read_price({"input": "1"})),))
    assert await synced(pool, with_price({"input": "1.0"}))
    assert await pool.fetch("SELECT origin FROM price_versions ORDER BY effective_from") == [("book",), ("config",)]
