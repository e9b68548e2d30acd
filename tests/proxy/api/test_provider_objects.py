from __future__ import annotations

from proxy.objects import store
from proxy.objects.kinds import Account
from proxy.objects.store import Row
from proxy.wire.ids import to_wire
from tests.proxy.api.conftest import Api, Tenant


async def recorded(api: Api, tenant: Tenant, account: Account, kind: str, object_id: str) -> str:
    row = Row(api.deployment.id(), tenant.workspace, account, kind, object_id, None)
    async with api.deployment.pool.acquire() as db:
        await store.record(db, [row])
    return to_wire("obj", row.id)


async def test_a_workspace_sees_its_own(api: Api, acme: Tenant, rival: Tenant) -> None:
    ours, own = Account("openai"), Account("openai", acme.variable)
    first = await recorded(api, acme, ours, "response", "resp_1")
    second = await recorded(api, acme, own, "file", "file-1")
    await recorded(api, rival, ours, "response", "resp_rival")
    page = await api.ok("GET", "/provider-objects?order=asc", key=acme.owner)
    assert [each["id"] for each in page["data"]] == [first, second]
    assert [each["user_variable_id"] for each in page["data"]] == [None, acme.uv]
    assert page["data"][0]["object_id"] == "resp_1"
    for query, wanted in [
        ("kind=file", [second]), ("object_id=resp_1", [first]), (f"user_variable_id={acme.uv}", [second]),
        ("object_id=resp_rival", []), ("provider=mistral", []), ("limit=1", [second]), (f"after={second}", [first]),
    ]:  # fmt: skip
        found = await api.ok("GET", f"/provider-objects?{query}", key=acme.owner)
        assert [each["id"] for each in found["data"]] == wanted, query
    everything = await api.ok("GET", "/provider-objects")
    assert len(everything["data"]) == 3


async def test_deleted_ones_are_shown_on_demand(api: Api, acme: Tenant) -> None:
    id = await recorded(api, acme, Account("openai"), "file", "file-1")
    async with api.deployment.pool.acquire() as db:
        await store.forget(db, workspace_id=acme.workspace, account=Account("openai"), kind="file", object_id="file-1")
    assert (await api.ok("GET", "/provider-objects"))["data"] == []
    (shown,) = (await api.ok("GET", "/provider-objects?with_deleted=true"))["data"]
    assert shown["id"] == id and shown["deleted_at"] is not None


async def test_what_was_made_elsewhere_is_claimed(api: Api, acme: Tenant, rival: Tenant) -> None:
    body = {"provider": "openai", "user_variable_id": acme.uv, "kind": "prompt", "object_id": "pmpt_1"}
    made = await api.ok("POST", "/provider-objects", body, key=acme.owner)
    assert (made["workspace_id"], made["user_variable_id"], made["expires_at"]) == (acme.ws, acme.uv, None)
    assert (await api.post("/provider-objects", body, key=acme.owner)).code == "conflict"
    (entry,) = (await api.ok("GET", "/audit?resource=provider_object"))["data"]
    assert (entry["resource_id"], entry["detail"]["object_id"]) == (made["id"], "pmpt_1")


async def test_only_the_platform_says_whose_an_object_at_our_account_is(api: Api, acme: Tenant) -> None:
    body = {"workspace_id": acme.ws, "provider": "openai", "kind": "prompt", "object_id": "pmpt_1"}
    refused = await api.post("/provider-objects", body, key=acme.owner)
    assert (refused.status, refused.code, refused.param) == (403, "forbidden", "user_variable_id")
    assert (await api.ok("POST", "/provider-objects", body))["user_variable_id"] is None


async def test_claims_that_cannot_be(api: Api, acme: Tenant, rival: Tenant) -> None:
    good = {"provider": "openai", "user_variable_id": acme.uv, "kind": "prompt", "object_id": "pmpt_1"}
    for change, status in [
        ({"user_variable_id": rival.uv}, 404), ({"user_variable_id": "uv_" + "1" * 32}, 404), ({"provider": "mistral"}, 400),
        ({"kind": "prompts"}, 400), ({"object_id": "../x"}, 400), ({"object_id": ""}, 400), ({"workspace_id": rival.ws}, 404),
    ]:  # fmt: skip
        answer = await api.post("/provider-objects", good | change, key=acme.owner)
        assert answer.status == status, (change, answer)
    assert (await api.ok("GET", "/provider-objects"))["data"] == []
