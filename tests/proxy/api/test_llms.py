from __future__ import annotations

from tests.proxy.api.conftest import Api, Tenant


async def test_llms_with_routes_and_prices_in_force(api: Api, acme: Tenant) -> None:
    listed = await api.ok("GET", "/llms", key=acme.owner)
    mini, large = sorted(listed["data"], key=lambda llm: str(llm["name"]))
    assert (mini["name"], mini["context_window"], mini["managed_by"]) == ("gpt-mini", 128000, "config")
    (route,) = mini["routes"]
    assert (route["provider"], route["upstream_model"], route["price_source"]) == ("openai", "m", "config")
    assert route["prices"] == [
        {"unit": "input", "variant": "", "service_tier": "", "processing": "", "above_input_tokens": 0, "hours": None,
         "minimum_units": 0, "usd": "0.00000015", "per_units": 1}
    ]
    # no price is not a price of zero
    assert large["routes"][0]["prices"] is None
    assert await api.ok("GET", f"/llms/{mini['id']}", key=acme.owner) == mini
    assert [llm["name"] for llm in (await api.ok("GET", "/llms?name=mistral-large"))["data"]] == ["mistral-large"]


async def test_a_price_that_has_ended_is_not_in_force(api: Api) -> None:
    await api.deployment.run("UPDATE price_versions SET effective_to = now() - interval '1 s'")
    (llm,) = (await api.ok("GET", "/llms?name=gpt-mini"))["data"]
    assert llm["routes"][0]["prices"] is None


async def test_what_was_removed_is_shown_when_asked_for(api: Api) -> None:
    await api.deployment.run("UPDATE llms SET status = 'removed' WHERE name = 'gpt-mini'")
    assert [llm["name"] for llm in (await api.ok("GET", "/llms"))["data"]] == ["mistral-large"]
    assert [llm["name"] for llm in (await api.ok("GET", "/llms?status=removed"))["data"]] == ["gpt-mini"]


async def test_providers(api: Api, acme: Tenant) -> None:
    listed = await api.ok("GET", "/providers", key=acme.owner)
    assert {each["name"]: each["has_global_key"] for each in listed["data"]} == {"openai": True, "mistral": False}
    assert {each["auth"] for each in listed["data"]} == {"bearer"}
    first = listed["data"][0]
    assert await api.ok("GET", f"/providers/{first['id']}") == first
    assert (await api.get("/providers/prov_" + "0" * 32)).status == 404


async def test_provider_without_keys_has_none(api: Api) -> None:
    """The gateway calls it without a key: that is no global key of it."""
    await api.deployment.run("UPDATE providers SET name = 'local' WHERE name = 'mistral'")
    (local,) = (await api.ok("GET", "/providers?name=local"))["data"]
    assert (local["auth"], local["has_global_key"]) == ("none", False)
    await api.deployment.run("UPDATE providers SET dialect = 'echo' WHERE name = 'openai'")
    (built_in,) = (await api.ok("GET", "/providers?name=openai"))["data"]
    assert (built_in["auth"], built_in["has_global_key"]) == ("none", False)
