from __future__ import annotations

from typing import Any

from proxy.wire.ids import to_wire
from tests.proxy.api.conftest import Api, Tenant


async def test_a_key_made_inside_a_workspace_stays_there(api: Api, acme: Tenant, rival: Tenant) -> None:
    made = await api.ok("POST", "/management-keys", {"role": "admin", "name": "ci"}, key=acme.owner)
    assert made["workspace_id"] == acme.ws
    assert made["key"].startswith("sk-adm-")
    assert {user["email"] for user in (await api.ok("GET", "/users", key=made["key"]))["data"]} == {"ann@acme.test"}
    assert (await api.get(f"/workspaces/{rival.ws}", key=made["key"])).status == 404
    assert (await api.post("/workspaces", {"name": "x"}, key=made["key"])).status == 403
    shown = await api.ok("GET", f"/management-keys/{made['id']}", key=acme.owner)
    assert shown == {name: value for name, value in made.items() if name != "key"}


async def test_no_way_up(api: Api, acme: Tenant) -> None:
    """Neither making, rotating, changing nor removing a key of a higher role, nor one of the platform."""
    admin_row, admin = await api.deployment.manager(acme.workspace, "admin")
    owner_row, _ = await api.deployment.manager(acme.workspace, "owner")
    platform_row, _ = await api.deployment.manager(None)
    for body in ({"role": "owner", "name": "x"}, {"role": "owner", "name": "x", "workspace_id": acme.ws}):
        assert (await api.post("/management-keys", body, key=admin)).code == "forbidden"
    for row, status in ((owner_row, 403), (platform_row, 404)):
        path = f"/management-keys/{to_wire('mk', row.id)}"
        for method, suffix, body in (
            ("POST", "/rotate", None), ("POST", "/block", None), ("POST", "/unblock", None), ("DELETE", "", None),
            ("PATCH", "", {"name": "x"}),
        ):  # fmt: skip
            assert (await api.call(method, path + suffix, body, key=admin)).status == status
    # a null workspace means the own one to a bound key, never the platform
    made = await api.ok("POST", "/management-keys", {"role": "admin", "name": "x", "workspace_id": None}, key=admin)
    assert made["workspace_id"] == acme.ws
    own = f"/management-keys/{to_wire('mk', admin_row.id)}"
    for field in ("role", "workspace_id", "status"):
        answer = await api.call("PATCH", own, {field: "owner"}, key=admin)
        assert (answer.status, answer.param) == (400, field)


async def test_keys_of_the_platform(api: Api) -> None:
    made = await api.ok("POST", "/management-keys", {"role": "admin", "name": "second"})
    assert made["workspace_id"] is None
    await api.ok("POST", "/workspaces", {"name": "x"}, key=made["key"])
    answer = await api.post("/management-keys", {"role": "owner", "name": "x"})
    assert (answer.status, answer.param) == (400, "role")


MASS_ASSIGNMENT: list[Any] = ["key", "hash", "id", "status"]


async def test_mass_assignment(api: Api) -> None:
    for field in MASS_ASSIGNMENT:
        answer = await api.post("/management-keys", {"role": "admin", "name": "x", field: "sk-adm-mine"})
        assert (answer.status, answer.param) == (400, field)


async def test_filters(api: Api, acme: Tenant) -> None:
    await api.deployment.manager(acme.workspace, "billing")
    shown = await api.ok("GET", f"/management-keys?workspace_id={acme.ws}&role=billing")
    assert [key["role"] for key in shown["data"]] == ["billing"]
