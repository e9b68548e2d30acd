"""`/prices` against the real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.wire.ids import NIL
from tests.proxy.api.conftest import Api, Tenant

DAY = timedelta(days=1)
PRICE = {"input": "2.50", "output": "10"}


def wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def no_config(api: Api) -> None:
    """The llm's price is the price book's."""
    await api.deployment.run("UPDATE price_versions SET origin = 'book', source = 'genai-prices 0.1'")
    await api.deployment.run("INSERT INTO units VALUES ('output', 'token', '') ON CONFLICT DO NOTHING")


async def test_a_price_as_text_and_item_by_item(api: Api, acme: Tenant) -> None:
    await no_config(api)
    (row,) = (await api.ok("GET", "/prices?llm=gpt-mini&provider=openai", key=acme.owner))["data"]
    assert (row["llm"], row["provider"], row["upstream_model"], row["origin"]) == ("gpt-mini", "openai", "m", "book")
    assert (row["effective_from"], row["effective_to"], row["superseded_at"]) == ("2020-01-01T00:00:00Z", None, None)
    (item,) = row["items"]
    assert item["id"].startswith("price_") and item | {"id": ""} == {
        "id": "", "unit": "input", "variant": "", "service_tier": "", "processing": "", "above_input_tokens": 0,
        "hours": None, "minimum_units": 0, "price": "0.15", "usd": "0.00000015", "per_units": 1,
    }  # fmt: skip
    assert row["price"] == {"input": "0.15"}
    assert await api.ok("GET", f"/prices/{row['id']}", key=acme.owner) == row
    assert (await api.get("/prices/pver_" + "0" * 32)).status == 404
    assert (await api.ok("GET", "/prices?at=2019-12-31"))["data"] == []
    assert (await api.ok("GET", "/prices?llm=mistral-large"))["data"] == []
    assert (await api.ok("GET", "/prices?origin=custom"))["data"] == []


async def test_set_from_a_past_day_and_taken_back(api: Api, acme: Tenant) -> None:
    await no_config(api)
    epoch = await api.deployment.epoch(NIL)
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    body = {"llm": "gpt-mini", "price": PRICE, "effective_from": wire(day), "note": "contract"}
    made = await api.post("/prices", body)
    assert made.status == 201, made
    row = made.json
    assert (row["origin"], row["source"], row["effective_from"]) == ("custom", "custom (contract)", wire(day))
    assert [item["price"] for item in sorted(row["items"], key=lambda item: str(item["unit"]))] == ["2.5", "10"]
    assert [(c["action"], c["origin"], c["effective_to"]) for c in row["changes"]] == [
        ("ended", "book", wire(day)), ("added", "custom", None)]
    assert await api.deployment.epoch(NIL) == epoch + 1
    assert api.deployment.published[-1] == {NIL: epoch + 1}
    (llm,) = (await api.ok("GET", "/llms?name=gpt-mini", key=acme.owner))["data"]
    assert llm["routes"][0]["price_source"] == "custom (contract)"
    entry = (await api.ok("GET", "/audit?limit=1"))["data"][0]
    assert (entry["verb"], entry["resource"], entry["resource_id"]) == ("create", "price", row["id"])
    assert entry["detail"] == {"llm": "gpt-mini", "provider": "openai", "upstream_model": "m", "price": PRICE,
                               "versions": {"ended": 1, "added": 1}}  # fmt: skip

    again = await api.ok("POST", "/prices", body)
    assert (again["id"], again["changes"]) == (row["id"], [])
    assert await api.deployment.epoch(NIL) == epoch + 1  # nobody has to reload for nothing

    gone = await api.ok("POST", "/prices/unset", {"llm": "gpt-mini"})
    assert [c["action"] for c in gone["changes"]] == ["ended"]  # the book does not know it
    (llm,) = (await api.ok("GET", "/llms?name=gpt-mini"))["data"]
    assert llm["routes"][0]["prices"] is None
    assert (await api.post("/prices/unset", {"llm": "gpt-mini"})).code == "not_found"


async def test_the_same_idempotency_key_sets_once(api: Api) -> None:
    await no_config(api)
    headers = {"Idempotency-Key": "once"}
    first = await api.post("/prices", {"llm": "gpt-mini", "price": PRICE}, headers=headers)
    again = await api.post("/prices", {"llm": "gpt-mini", "price": PRICE}, headers=headers)
    assert first.json == again.json and again.headers["Idempotent-Replayed"] == "true"
    assert len((await api.ok("GET", "/prices?superseded=with"))["data"]) == 2


async def test_what_was_superseded_is_shown_when_asked_for(api: Api) -> None:
    await no_config(api)
    await api.ok("POST", "/prices", {"llm": "gpt-mini", "price": PRICE, "effective_from": "2019-01-01T00:00:00Z"})
    (live,) = (await api.ok("GET", "/prices?llm=gpt-mini"))["data"]
    both = (await api.ok("GET", "/prices?llm=gpt-mini&superseded=with"))["data"]
    (llm,) = (await api.ok("GET", "/llms?name=gpt-mini"))["data"]
    assert llm["routes"][0]["price_source"] == "custom"
    assert live["origin"] == "custom" and [row["superseded_at"] is None for row in both] == [True, False]


async def test_refusals_say_what_to_do(api: Api) -> None:
    async def refused(body: Any, path: str = "/prices") -> tuple[int, str | None, str]:
        answer = await api.post(path, body)
        return answer.status, answer.param, answer.json["error"]["message"]

    await no_config(api)
    await api.deployment.run("UPDATE price_versions SET origin = 'config'")
    status, _, message = await refused({"llm": "gpt-mini", "price": PRICE})
    assert status == 409 and "config.yaml names the price" in message
    await no_config(api)
    assert await refused({"llm": "gpt-mimi", "price": PRICE}) == (
        400, "llm", "There is no llm `gpt-mimi`. Near: gpt-mini.")
    status, param, message = await refused({"llm": "gpt-mini", "price": {"input": 2.5}})
    assert (status, param) == (400, "price") and "a price is text, in quotes" in message
    status, param, message = await refused({"llm": "gpt-mini", "price": {"tokens": "1"}})
    assert (status, param) == (400, "price") and "no such unit" in message
    assert (await refused({"llm": "gpt-mini", "price": {}}))[:2] == (400, "price")
    status, param, message = await refused({"llm": "gpt-mini", "price": PRICE, "provider": "mistral"})
    assert (status, param) == (400, "provider") and "It is at: openai (m)" in message
    moment = wire(datetime.now(UTC))
    assert (await refused({"llm": "gpt-mini", "price": PRICE, "effective_from": moment, "effective_to": moment}))[:2] == (
        400, "effective_to")
    await api.deployment.run(
        "INSERT INTO routes (id, llm_id, provider_id, upstream_model, position)"
        " SELECT gen_random_uuid(), l.id, p.id, 'other', 1 FROM llms l, providers p WHERE l.name = 'gpt-mini'"
    )
    status, param, message = await refused({"llm": "gpt-mini", "price": PRICE})
    assert (status, param) == (400, "provider") and "several prices" in message
    status, param, message = await refused({"llm": "gpt-mini", "price": PRICE, "provider": "openai"})
    assert (status, param) == (400, "upstream_model")
    assert (await api.post("/prices", {"llm": "gpt-mini", "price": PRICE, "provider": "openai", "upstream_model": "m"})).status == 201


def document(*prices: dict[str, Any], version: str = "9.9.9") -> dict[str, Any]:
    return DOCUMENT | {"version": version, "providers": {"openai": {"m": {"prices": list(prices)}}}}


DOCUMENT = {"source": "genai-prices", "version": "9.9.9", "sha256": "0" * 64}


async def test_import_and_its_rehearsal(api: Api) -> None:
    await no_config(api)
    body = {"document": document({"from": None, "price": PRICE})}
    epoch = await api.deployment.epoch(NIL)
    told = await api.ok("POST", "/prices/import", body | {"dry_run": True})
    assert (told["dry_run"], told["source"], told["routes_changed"], told["routes_unknown"]) == (True, "genai-prices 9.9.9", 1, 1)
    assert await api.deployment.epoch(NIL) == epoch
    done = await api.ok("POST", "/prices/import", body)
    assert [(c["action"], c["origin"], c["price"]) for c in done["changes"]] == [
        ("ended", "book", {"input": "0.15"}), ("added", "import", {"input": "2.5", "output": "10"})]
    assert await api.deployment.epoch(NIL) == epoch + 1
    again = await api.ok("POST", "/prices/import", body)
    assert (again["changes"], again["routes_unchanged"]) == ([], 1)
    entry = (await api.ok("GET", "/audit?limit=100"))["data"][1]
    assert entry["verb"] == "import" and entry["detail"]["versions"] == {"ended": 1, "added": 1}
    assert (await api.ok("POST", "/prices/import", {}))["source"].startswith("genai-prices 0.")  # the one that ships


async def test_a_document_that_is_none_is_refused_and_changes_nothing(api: Api) -> None:
    await no_config(api)
    for bad in ({}, {"source": "s"}, document({"from": None, "price": {"input": 1}}), document({"from": "soon", "price": PRICE})):
        answer = await api.post("/prices/import", {"document": bad})
        assert (answer.status, answer.param) == (400, "document"), bad
    assert len((await api.ok("GET", "/prices?superseded=with"))["data"]) == 1


async def test_a_document_may_be_large_and_not_endless(api: Api) -> None:
    padding = {"x": "y" * 1_000_000}
    answer = await api.post("/prices/import", {"document": document({"from": None, "price": PRICE}) | padding, "dry_run": True})
    assert answer.status in (200, 400) and answer.code != "request_too_large" if answer.status != 200 else True
    assert (await api.post("/prices/import", {"document": {"x": "y" * 4_200_000}})).status == 413
    assert (await api.post("/prices", {"llm": "gpt-mini", "price": {"input": "1" * 300_000}})).status == 413


async def test_only_the_platform_sets_prices(api: Api, acme: Tenant) -> None:
    for path, body in (("/prices", {"llm": "gpt-mini", "price": PRICE}), ("/prices/unset", {"llm": "gpt-mini"}),
                       ("/prices/import", {})):  # fmt: skip
        assert (await api.post(path, body, key=acme.owner)).status == 403
