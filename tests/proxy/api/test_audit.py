from __future__ import annotations

from tests.proxy.api.conftest import Api, Tenant


async def test_who_did_what(api: Api, acme: Tenant, rival: Tenant) -> None:
    made = await api.ok("POST", "/virtual-keys", {"user_id": acme.user_id, "name": "prod"}, key=acme.owner)
    await api.ok("POST", f"/virtual-keys/{made['id']}/block")
    await api.ok("PATCH", f"/user-variables/{acme.uv}", {"value": "another-CANARY-key-1234"}, key=acme.owner)
    await api.ok("POST", f"/virtual-keys/{rival.key_id}/rotate", key=rival.owner)
    listed = await api.ok("GET", "/audit?order=asc", key=acme.owner)
    first, second, third = listed["data"]
    assert (first["verb"], first["resource"], first["resource_id"]) == ("create", "virtual_key", made["id"])
    assert first["detail"]["name"] == "prod"
    assert first["actor_id"] != second["actor_id"]
    assert (second["verb"], second["workspace_id"]) == ("block", acme.ws)
    assert third["detail"] == {"provider": "openai", "scope": "workspace", "set": ["value"]}
    assert "CANARY" not in str(listed)
    for query, count in [
        ("verb=block", 1), ("resource=user_variable", 1), (f"actor_id={first['actor_id']}", 2),
        (f"workspace_id={rival.ws}", 1), ("", 4),
    ]:  # fmt: skip
        assert len((await api.ok("GET", f"/audit?{query}"))["data"]) == count, query


async def test_a_refused_change_leaves_no_entry(api: Api, acme: Tenant) -> None:
    await api.post("/virtual-keys", {"user_id": acme.user_id, "name": ""}, key=acme.owner)
    await api.post("/workspaces", {"name": "x"}, key=acme.owner)
    assert (await api.ok("GET", "/audit"))["data"] == []
