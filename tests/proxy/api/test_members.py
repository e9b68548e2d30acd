from __future__ import annotations

import pytest

from proxy.wire.refusals import Refused
from tests.proxy.api.conftest import Api, Tenant


async def test_the_life_of_a_membership(api: Api, acme: Tenant) -> None:
    user = await api.ok("POST", "/users", {"email": "new@acme.test", "name": "New"})
    members = f"/workspaces/{acme.ws}/members"
    epoch = await api.deployment.epoch(acme.workspace)
    added = await api.ok("POST", members, {"user_id": user["id"], "role": "billing"})
    assert (added["id"], added["user_id"], added["role"], added["email"]) == (
        user["id"], user["id"], "billing", "new@acme.test",
    )  # fmt: skip
    assert (await api.post(members, {"user_id": user["id"], "role": "billing"})).code == "conflict"
    one = f"{members}/{user['id']}"
    assert (await api.ok("PATCH", one, {"role": "viewer"}))["role"] == "viewer"
    assert (await api.ok("GET", one))["role"] == "viewer"
    assert {member["role"] for member in (await api.ok("GET", members))["data"]} == {"member", "viewer"}
    assert (await api.ok("DELETE", one))["deleted"] is True
    assert (await api.get(one)).status == 404
    assert await api.deployment.epoch(acme.workspace) == epoch + 3


async def test_who_is_removed_is_out_and_may_come_back(api: Api, acme: Tenant) -> None:
    await api.deployment.resolver.resolve(acme.secret)
    await api.ok("DELETE", f"/workspaces/{acme.ws}/members/{acme.user_id}", key=acme.owner)
    api.deployment.resolver.drop_workspace(acme.workspace)
    with pytest.raises(Refused, match="no longer a member"):
        await api.deployment.resolver.resolve(acme.secret)
    # the workspace still knows them by their key
    await api.ok("POST", f"/workspaces/{acme.ws}/members", {"user_id": acme.user_id, "role": "viewer"}, key=acme.owner)
    assert await api.deployment.resolver.resolve(acme.secret)


async def test_an_admin_neither_makes_nor_unmakes_owners(api: Api, acme: Tenant) -> None:
    _, admin = await api.deployment.manager(acme.workspace, "admin")
    owner = (await api.ok("POST", "/users", {"email": "boss@acme.test"}, key=acme.owner))["id"]
    one = f"/workspaces/{acme.ws}/members/{owner}"
    assert (await api.call("PATCH", one, {"role": "owner"}, key=admin)).code == "forbidden"
    await api.ok("PATCH", one, {"role": "owner"}, key=acme.owner)
    assert (await api.call("PATCH", one, {"role": "viewer"}, key=admin)).code == "forbidden"
    assert (await api.call("DELETE", one, key=admin)).code == "forbidden"
    assert (await api.ok("GET", one))["role"] == "owner"
