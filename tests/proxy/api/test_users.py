from __future__ import annotations

from typing import Any

import pytest

from proxy.wire.refusals import Refused
from tests.proxy.api.conftest import Api, Tenant


async def test_the_life_of_a_user(api: Api, acme: Tenant, rival: Tenant) -> None:
    made = await api.ok("POST", "/users", {"email": "Zoe@example.test", "name": "Zoe"})
    path = f"/users/{made['id']}"
    assert (await api.ok("PATCH", path, {"name": "Zoé"}))["name"] == "Zoé"
    taken = await api.call("PATCH", path, {"email": "ANN@acme.test"})
    assert (taken.status, taken.param) == (409, "email")
    assert (await api.post("/users", {"email": "zoe@EXAMPLE.test"})).status == 409
    assert [user["id"] for user in (await api.ok("GET", "/users?email=zoe@example.test"))["data"]] == [made["id"]]


async def test_blocking_a_user_reaches_every_workspace_of_theirs(api: Api, acme: Tenant, rival: Tenant) -> None:
    await api.ok("POST", f"/workspaces/{rival.ws}/members", {"user_id": acme.user_id, "role": "member"})
    _, elsewhere = await api.deployment.key(rival.workspace, acme.user)
    before = [await api.deployment.epoch(workspace) for workspace in (acme.workspace, rival.workspace)]
    await api.ok("POST", f"/users/{acme.user_id}/block")
    after = [await api.deployment.epoch(workspace) for workspace in (acme.workspace, rival.workspace)]
    assert after == [epoch + 1 for epoch in before]
    assert set(api.deployment.published[-1]) == {acme.workspace, rival.workspace}
    for secret in (acme.secret, elsewhere):
        with pytest.raises(Refused, match="user of this key is blocked"):
            await api.deployment.resolver.resolve(secret)
    await api.ok("POST", f"/users/{acme.user_id}/unblock")
    assert await api.deployment.resolver.resolve(elsewhere)


async def test_created_from_inside_a_workspace_they_are_members_of_it(api: Api, acme: Tenant, rival: Tenant) -> None:
    made = await api.ok("POST", "/users", {"email": "new@acme.test"}, key=acme.owner)
    assert (await api.ok("GET", f"/workspaces/{acme.ws}/members/{made['id']}"))["role"] == "member"
    assert (await api.get(f"/users/{made['id']}", key=rival.owner)).status == 404
    # whose email it is, is not said
    answer = await api.post("/users", {"email": "ann@rival.test"}, key=acme.owner)
    assert answer.status == 409
    assert rival.user_id not in str(answer.json)


BAD_BODIES: list[Any] = [
    ({"email": "nobody"}, "email"),
    ({"email": "a b@c"}, "email"),
    ({"email": 1}, "email"),
    ({}, "email"),
    ({"email": "a@b", "role": "owner"}, "role"),
    ({"email": "a@b", "status": "active"}, "status"),
    ({"email": "a@b", "name": None}, "name"),
]


async def test_bad_bodies(api: Api) -> None:
    for body, param in BAD_BODIES:
        answer = await api.post("/users", body)
        assert (answer.status, answer.param) == (400, param)
